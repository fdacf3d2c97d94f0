//! The two answers at the head of the page follow from the records, whatever these say.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod made;

use std::fs;
use std::path::Path;

use harness_record::{Outcome, TrialRecord};
use reports::analysis::Analysis;
use reports::answers::{self, Answer};
use reports::artefacts;
use reports::render::plot::window;
use reports::store::Store;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

const MS: u64 = 1_000_000;

/// A store with these campaigns.
fn store(campaigns: &[(&str, Vec<TrialRecord>)]) -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    for (name, trials) in campaigns {
        let dir = root.path().join("raw").join(name);
        made::campaign(&dir, name, trials.clone());
        made::take(root.path(), name, &dir);
    }
    let store = Store::read(root.path()).unwrap();
    (root, store)
}

fn answers(campaigns: &[(&str, Vec<TrialRecord>)]) -> [Answer; 2] {
    let (_root, store) = store(campaigns);
    answers::all(&Analysis::of(&store)).map(|(_, answer)| answer)
}

/// The notification and `waitpid-main` at four lifetimes: it is late below `until`.
fn lifetimes(until: u64) -> Vec<TrialRecord> {
    let mut trials = Vec::new();
    for block in 0..made::BLOCKS {
        for lifetime in [0, 5 * MS, 12 * MS, 20 * MS] {
            let late = if lifetime < until { 8 * MS } else { 0 };
            for (name, ns) in [
                ("waitpid-main", 100_000),
                ("cgroup-events-poll", 100_000 + late),
            ] {
                let latency = made::latency(ns, block, lifetime / MS + ns);
                trials.push(made::trial("run", block, name, lifetime, Some(latency)));
            }
        }
    }
    trials
}

/// Both strategies; `survivors` of the first leave something alive.
fn kills(survivors: u32, factor: u64) -> Vec<TrialRecord> {
    let mut trials = Vec::new();
    for block in 0..made::BLOCKS {
        let took = made::latency(MS, block, 1);
        let killed = (block >= survivors).then_some(took);
        trials.push(made::kill("run", block, "cgroup-kill", 1, killed));
        trials.push(made::kill(
            "run",
            block,
            "freeze-kill",
            1,
            Some(took * factor),
        ));
    }
    trials
}

#[test]
fn a_late_notification_is_called_late_up_to_the_lifetime_that_was_seen() {
    let [late, _] = answers(&[("a", lifetimes(15 * MS))]);
    assert_eq!(late.short, "Yes, but late for short jobs");
    assert!(
        late.reason.contains("a life of 12.0 ms") || late.reason.contains("a life of 12 ms"),
        "{late:?}"
    );
    assert!(
        late.reason.contains("in 0 of 160 trials (≤ 1.9 %)"),
        "{late:?}"
    );
    assert!(
        late.reason.contains("where `waitpid-main` takes 10"),
        "{late:?}"
    );
    let [shorter, _] = answers(&[("a", lifetimes(10 * MS))]);
    assert!(shorter.reason.contains("a life of 5 ms"), "{shorter:?}");
    let [prompt, _] = answers(&[("a", lifetimes(0))]);
    assert_eq!(prompt.short, "Yes", "{prompt:?}");
}

#[test]
fn an_early_or_a_lost_notification_changes_the_answer() {
    let mut trials = lifetimes(15 * MS);
    let of = |t: &&mut TrialRecord| t.detector == "cgroup-events-poll" && t.block == Some(3);
    for trial in trials.iter_mut().filter(of) {
        trial.outcome = Outcome::Early;
    }
    let [early, _] = answers(&[("a", trials)]);
    assert_eq!(early.short, "Not by itself");
    assert!(
        early.reason.contains("too early in 4 of 160 trials"),
        "{early:?}"
    );
    let lost: Vec<TrialRecord> = (0..made::BLOCKS)
        .map(|block| made::trial("run", block, "cgroup-events-poll", 0, None))
        .collect();
    let [lost, _] = answers(&[("a", lifetimes(15 * MS)), ("b", lost)]);
    assert_eq!(
        lost.short,
        "Yes, but late for short jobs, and it can be lost"
    );
    assert!(
        lost.reason
            .contains("never came in 40 of 40 trials of `made-up`"),
        "{lost:?}"
    );
    assert_eq!(lost.datasets, ["a", "b"]);
}

#[test]
fn freezing_is_needed_only_where_a_write_left_something_alive() {
    let [_, no] = answers(&[("a", kills(0, 2))]);
    assert_eq!(no.short, "No");
    assert!(
        no.reason
            .contains("alive in 40 of 40 trials of 1 workloads"),
        "{no:?}"
    );
    assert!(
        no.reason.contains("took 1.9") || no.reason.contains("took 2.0"),
        "{no:?}"
    );
    let [_, yes] = answers(&[("a", kills(2, 2))]);
    assert_eq!(yes.short, "Yes, in these trials");
    assert!(yes.reason.contains("38 of 40 trials"), "{yes:?}");
}

#[test]
fn what_is_not_recorded_is_not_answered() {
    let [notification, freezing] = answers(&[("a", made::detecting("run"))]);
    assert_eq!(notification.short, "Not recorded");
    assert_eq!(freezing.short, "Not recorded");
}

#[test]
fn the_window_has_at_most_five_lines_and_the_ticks_of_its_kernel() {
    let mut trials = lifetimes(15 * MS);
    for block in 0..made::BLOCKS {
        for (at, name) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
            for lifetime in [0, 5 * MS, 12 * MS] {
                let latency = made::latency(200_000 * (at as u64 + 1), block, lifetime);
                trials.push(made::trial("run", block, name, lifetime, Some(latency)));
            }
        }
    }
    let (_root, store) = store(&[("a", trials)]);
    let opening = window::opening(&Analysis::of(&store)).unwrap();
    for svg in [&opening.wide, &opening.narrow] {
        assert_eq!(svg.matches("<path class=\"p c").count(), 5, "{svg}");
        assert!(
            svg.contains("notification window") && svg.contains("cgroup-events-"),
            "{svg}"
        );
        assert!(svg.contains("class=\"k\""), "ticks are drawn: {svg}");
    }
    // The campaign says HZ=250: three ticks, and the fourth.
    assert!(
        opening.caption.contains("within 12 ms of another"),
        "{}",
        opening.caption
    );
    assert!(
        opening.caption.contains("at most 16 ms"),
        "{}",
        opening.caption
    );
    assert!(
        opening.caption.contains("4 ms each (HZ=250)"),
        "{}",
        opening.caption
    );
}

#[test]
fn a_page_has_both_answers_and_a_picture_for_links() {
    let (root, store) = store(&[("a", lifetimes(15 * MS)), ("b", kills(0, 2))]);
    fs::write(root.path().join("reports/findings.md"), "# F\n").unwrap();
    let rendered = artefacts::all(&store).unwrap();
    let page = &rendered.artefacts["index.html"];
    for words in [
        "<h2>Is freezing needed before killing?</h2>\n<p><strong>No:</strong>",
        "<strong>Yes, but late for short jobs:</strong>",
        "property=\"og:image\" content=\"preview.png\"",
    ] {
        assert!(page.contains(words), "{words} is not in the page");
    }
    let picture = &rendered.pictures["preview.png"];
    assert_eq!(
        &picture[16..24],
        [0, 0, 4, 176, 0, 0, 2, 118],
        "1200 by 630 pixels"
    );
}

/// A sentence ends with a full stop before a blank and a capital letter, or with its paragraph.
fn sentences(paragraph: &str) -> Vec<String> {
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let mut all = vec![Vec::new()];
    for (at, word) in words.iter().enumerate() {
        all.last_mut().unwrap().push(*word);
        let begins = words.get(at + 1).is_some_and(|next| {
            let next = next.trim_start_matches(['*', '`', '[', '(']);
            next.starts_with(char::is_uppercase)
        });
        if word.trim_end_matches('*').ends_with('.') && begins {
            all.push(Vec::new());
        }
    }
    all.into_iter().map(|words| words.join(" ")).collect()
}

#[test]
fn every_sentence_of_the_answers_points_at_its_data() {
    let findings = fs::read_to_string(workspace().join("reports/findings.md")).unwrap();
    let answers = findings.split("\n## ").nth(1).unwrap();
    let mut claims = 0;
    let paragraphs = answers
        .split("\n\n")
        .skip(1)
        .flat_map(|block| block.split("\n- "));
    for sentence in paragraphs.flat_map(sentences) {
        // Headings, and the names of the points.
        let named = sentence.trim_start_matches("- ");
        let is_name = named.starts_with('#') || (named.starts_with('*') && named.ends_with(".*"));
        if is_name || named == "The evidence:" {
            continue;
        }
        claims += 1;
        assert!(
            sentence.contains("<!-- figure: ") || sentence.contains("]("),
            "it points at nothing: {sentence}"
        );
        for link in sentence
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
        {
            let path = workspace()
                .join("reports")
                .join(link.split('#').next().unwrap());
            assert!(path.exists(), "{link} is not there");
        }
    }
    assert!(claims > 12, "only {claims} sentences were found");
}

#[test]
fn every_paragraph_of_the_findings_points_at_its_data() {
    let findings = fs::read_to_string(workspace().join("reports/findings.md")).unwrap();
    // What stands between the markers of a block is data itself.
    let (mut within, mut seen) = (false, 0);
    for block in findings.split("\n\n").map(str::trim) {
        let marker = block.starts_with("<!-- figure: ") && block.matches("<!--").count() == 1;
        within = (within || marker) && block != "<!-- /figure -->";
        // A paragraph that ends with a colon belongs to the table below it.
        if within || block.starts_with(['#', '<']) || block.ends_with(':') || block.is_empty() {
            continue;
        }
        for part in block.split("\n- ") {
            seen += 1;
            assert!(
                part.contains("](") || part.contains("<!-- figure: "),
                "it points at nothing: {part}"
            );
        }
    }
    assert!(seen > 30, "only {seen} paragraphs were found");
}
