//! The words for figures, and the text of the pages.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod made;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use harness_record::{Note, Outcome, TrialRecord};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reports::analysis::Campaign;
use reports::store::{Dataset, Store};
use reports::summary::Word;
use reports::{artefacts, render};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A dataset of these trials.
fn dataset(trials: Vec<TrialRecord>) -> Dataset {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("made");
    made::campaign(&dir, "run", trials);
    Dataset::read(&dir).unwrap()
}

/// Rows with one latency a block each; `twins` of a name follow each other.
fn rows(blocks: u32, rows: &[(&str, &dyn Fn(u32) -> u64)]) -> Dataset {
    let mut trials = Vec::new();
    for block in 0..blocks {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for (name, latency) in rows {
            let twin = seen.entry(name).or_insert(0);
            let mut trial = made::trial("run", block, name, 0, Some(latency(block)));
            trial.twin = *twin;
            *twin += 1;
            trials.push(trial);
        }
    }
    dataset(trials)
}

fn words(dataset: &Dataset, salt: &str) -> Vec<(String, Option<Word>)> {
    let campaign = Campaign::with_salt(dataset, salt);
    let cells = campaign.cells.iter();
    let mut words: Vec<_> = cells
        .map(|c| (format!("{} {}", c.row.label, c.name()), c.row.word))
        .collect();
    words.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    words
}

fn word(dataset: &Dataset, name: &str) -> Word {
    let campaign = Campaign::of(dataset);
    let cell = campaign.cells.iter().find(|c| c.name() == name).unwrap();
    cell.row.word.unwrap()
}

#[test]
fn a_word_needs_an_effect_that_matters() {
    let noise = |middle: u64, salt: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(salt);
        let drawn: Vec<u64> = (0..200)
            .map(|_| middle + rng.random_range(0..middle / 10))
            .collect();
        move |block: u32| drawn[block as usize]
    };
    let dataset = rows(
        200,
        &[
            ("waitpid-main", &noise(100_000, 1)),
            ("a-little-slower", &noise(105_000, 2)),
            ("much-slower", &noise(150_000, 3)),
            ("much-faster", &noise(60_000, 4)),
            ("alike", &noise(100_000, 5)),
        ],
    );
    let campaign = Campaign::of(&dataset);
    let little = campaign
        .cells
        .iter()
        .find(|c| c.name() == "a-little-slower")
        .unwrap();
    assert!(
        little.row.p_holm.unwrap() < 0.001,
        "chance does not explain it"
    );
    assert!(
        little.row.ratio_ci[0].unwrap() > 1.0,
        "nor is 1 in the interval"
    );
    assert_eq!(
        little.row.word,
        Some(Word::NotToldApart),
        "but 5 % matter to nobody"
    );
    assert_eq!(word(&dataset, "much-slower"), Word::Slower);
    assert_eq!(word(&dataset, "much-faster"), Word::Faster);
    assert_eq!(word(&dataset, "alike"), Word::NotToldApart);
}

#[test]
fn so_few_blocks_that_nothing_could_be_told_apart_are_called_too_few() {
    let of = |blocks| {
        rows(
            blocks,
            &[
                ("waitpid-main", &|block| 100_000 + u64::from(block)),
                ("slow", &|block| 900_000 + u64::from(block)),
                ("slower", &|block| 1_900_000 + u64::from(block)),
                ("quick", &|block| 10_000 + u64::from(block)),
            ],
        )
    };
    // The smallest p-value of six blocks is 2/64, three times that is above 0.05; of seven it is
    // 2/128.
    assert_eq!(word(&of(6), "slow"), Word::TooFewBlocks);
    assert_eq!(word(&of(7), "slow"), Word::Slower);
    let text = render::tables::rows(&Campaign::of(&of(6)), harness_record::Plane::Detect, None);
    assert!(
        text.contains("too few blocks") && !text.contains("slower,"),
        "{text}"
    );
}

#[test]
fn twins_have_one_word_and_one_ratio() {
    // One twin alone would pass the threshold, the other would not.
    let dataset = rows(
        200,
        &[
            ("waitpid-main", &|block| made::latency(100_000, block, 1)),
            ("other", &|block| made::latency(104_000, block, 2)),
            ("other", &|block| made::latency(125_000, block, 3)),
        ],
    );
    let campaign = Campaign::of(&dataset);
    let twins: Vec<_> = campaign
        .cells
        .iter()
        .filter(|c| c.mechanism() == "other")
        .collect();
    assert_eq!(twins.len(), 2);
    let said = |at: usize| {
        (
            twins[at].row.word,
            twins[at].row.ratio,
            twins[at].row.p_holm,
        )
    };
    assert_eq!(said(0), said(1));
    for dataset in &Store::read(workspace()).unwrap().datasets {
        let campaign = Campaign::of(dataset);
        for twin in campaign.cells.iter().filter(|c| c.row.twin > 0) {
            let first = campaign
                .cells
                .iter()
                .find(|c| {
                    c.row.twin == 0
                        && c.mechanism() == twin.mechanism()
                        && c.row.params == twin.row.params
                })
                .unwrap();
            assert_eq!(
                first.row.word,
                twin.row.word,
                "{} of {}",
                twin.name(),
                dataset.name
            );
        }
    }
}

#[test]
fn words_do_not_depend_on_the_seed() {
    for name in ["latency-again", "kill-64", "kill-size", "lifetimes"] {
        let dir = workspace().join("reports/data").join(name);
        let dataset = Dataset::read(&dir).unwrap();
        let first = words(&dataset, "");
        assert!(
            first.iter().any(|(_, word)| *word == Some(Word::Slower)),
            "{name}: {first:?}"
        );
        for seed in 1..=20 {
            assert_eq!(
                words(&dataset, &format!("seed {seed}")),
                first,
                "{name}, seed {seed}"
            );
        }
    }
}

#[test]
fn what_broke_is_in_no_figure() {
    let mut trials = made::detecting("run");
    for trial in trials
        .iter_mut()
        .filter(|t| t.detector == "never-heard-of" && t.block == Some(3))
    {
        trial.outcome = Outcome::Broken;
        trial.held = false;
        trial.verdict = None;
        trial.note = Some(Note::Broke {
            what: "fs.inotify.max_user_instances is exhausted".to_owned(),
            errno: Some("EMFILE".to_owned()),
        });
    }
    let dataset = dataset(trials);
    let campaign = Campaign::of(&dataset);
    let cell = campaign
        .cells
        .iter()
        .find(|c| c.name() == "never-heard-of")
        .unwrap();
    let row = &cell.row;
    assert_eq!(
        (row.n, row.broken, row.right, row.held, row.other),
        (39, 1, 39, 39, 0)
    );
    let grid = render::verdicts::table(&campaign, harness_record::Plane::Detect);
    assert!(grid.contains("117/117 (3 broke)"), "{grid}");
    assert!(!grid.contains("no answer"), "{grid}");
    let facts = render::tables::facts(&campaign);
    assert!(
        facts.contains("broke, and count for nothing: 4 of 560"),
        "{facts}"
    );
    assert!(facts.contains("max_user_instances is exhausted"), "{facts}");
}

#[test]
fn a_kill_is_cut_off_at_the_same_time_after_the_decision() {
    let mut trials = Vec::new();
    for block in 0..20 {
        trials.push(made::kill(
            "run",
            block,
            "cgroup-kill",
            1,
            Some(500_000_000),
        ));
        // It holds for most of the deadline (1 s), and then it is quick.
        let mut holds = made::kill("run", block, "holds", 1, Some(100_000_000));
        let kill = holds.kill.as_mut().unwrap();
        kill.begun_ns -= 950_000_000;
        trials.push(holds);
    }
    let dataset = dataset(trials);
    let campaign = Campaign::of(&dataset);
    let row = |name: &str| {
        &campaign
            .cells
            .iter()
            .find(|c| c.name() == name)
            .unwrap()
            .row
    };
    assert_eq!(row("holds").emptied, 20, "nothing is left");
    assert_eq!(row("holds").p50_ns, None, "but not in time");
    assert_eq!(
        row("holds").word,
        Some(Word::Slower),
        "though its dying is five times shorter"
    );
    assert_eq!(row("holds").dying_ns, Some(100_000_000));
    assert_eq!(row("cgroup-kill").p50_ns, Some(500_020_000));
}

#[test]
fn noise_stands_below_tables_and_a_loaded_campaign_is_called_loaded() {
    let mut dataset = dataset(made::detecting("run"));
    let quiet = render::tables::noise(&Campaign::of(&dataset));
    assert!(
        quiet.contains("lost 1.0 %") && !quiet.contains("loaded"),
        "{quiet}"
    );
    dataset.noise[0].lost_ns = 2_100_000;
    let campaign = Campaign::of(&dataset);
    let text = render::tables::campaign(&campaign, &[]);
    assert!(
        text.matches("lost 42 % of its time").count() >= 2,
        "in the facts and below the table: {text}"
    );
    assert!(text.contains("**The machine was loaded**"), "{text}");
    assert!(campaign.dataset.is_loaded());
    // Every table of the findings that has rows of a campaign in it.
    let findings = fs::read_to_string(workspace().join("reports/findings.md")).unwrap();
    for block in [
        "verdicts/plot/verdicts",
        "latency/exit-now:lifetime=0/ranking",
        "kill-64/forkbomb/ranking",
    ] {
        let begin = findings.find(&format!("<!-- figure: {block} -->")).unwrap();
        let end = begin + findings[begin..].find("<!-- /figure -->").unwrap();
        assert!(
            findings[begin..end].contains("Noise: a control that only spins lost"),
            "{block}"
        );
    }
}

#[test]
fn knowing_is_a_share_and_emulated_kernels_are_differences() {
    let store = Store::read(workspace()).unwrap();
    let rendered = artefacts::all(&store).unwrap();
    for name in ["kill-64.md", "kill-1000.md", "patched-kill.md"] {
        let text = &rendered.artefacts[name];
        assert!(
            text.contains("known late") && !text.contains("` 0 ns"),
            "{name}"
        );
    }
    for name in ["emulated.md", "patched.md"] {
        let text = &rendered.artefacts[name];
        let lines = text.lines().filter(|line| line.starts_with("| "));
        let ratios: Vec<&str> = lines.filter(|line| line.contains('×')).collect();
        // Counts may have an × of their own: "1× removed".
        let ratios: Vec<&&str> = ratios
            .iter()
            .filter(|line| !line.contains("× removed"))
            .collect();
        assert!(ratios.is_empty(), "{name}: {ratios:?}");
        assert!(text.contains(" ms ["), "{name}");
    }
}

/// The text of a page as a reader sees it: without scripts, styles, drawings and code; an inline
/// tag leaves no space.
fn visible(page: &str) -> String {
    let mut text = page.to_owned();
    for tag in ["script", "style", "svg", "code", "pre"] {
        while let Some(begin) = text.find(&format!("<{tag}")) {
            let end = format!("</{tag}>");
            let Some(length) = text[begin..].find(&end) else {
                break;
            };
            text.replace_range(begin..begin + length + end.len(), "_");
        }
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(begin) = rest.find('<') {
        out.push_str(&rest[..begin]);
        let end = rest[begin..]
            .find('>')
            .map_or(rest.len(), |at| begin + at + 1);
        let name: String = rest[begin + 1..]
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        if !name.is_empty()
            && !["em", "strong", "a", "b", "i", "span", "small"].contains(&name.as_str())
        {
            out.push(' ');
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Words that a figure was glued to, and literal back-ticks.
fn faults(page: &str) -> Vec<String> {
    let text = visible(page);
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut faults: Vec<String> = words
        .iter()
        .filter(|w| w.contains('`'))
        .map(|w| (*w).to_owned())
        .collect();
    for pair in words.windows(2) {
        let letters = pair[0].chars().take_while(char::is_ascii_lowercase).count();
        let number = pair[0][letters..]
            .chars()
            .all(|c| c.is_ascii_digit() || c == '.')
            && pair[0].len() > letters;
        let unit = ["ns", "us", "ms", "s", "%"]
            .contains(&pair[1].trim_end_matches([',', '.', ':', ';', ')']));
        if letters >= 2 && number && unit {
            faults.push(pair.join(" "));
        }
    }
    faults
}

#[test]
fn the_page_has_no_glued_text_and_no_literal_back_ticks() {
    assert_eq!(
        faults("<p>with ten and<!-- x -->44.4 us, `code`</p>"),
        ["`code`", "and44.4 us,"].map(String::from)
    );
    assert!(
        faults("<p>and <code>`x`</code> 44.4 us, v2 s</p>")
            .iter()
            .all(|f| f == "v2 s")
    );
    let store = Store::read(workspace()).unwrap();
    let rendered = artefacts::all(&store).unwrap();
    assert_eq!(
        faults(&rendered.artefacts["index.html"]),
        Vec::<String>::new()
    );
    // A marker at the beginning of a line is what did it: it is an error now, wherever it is
    // indented.
    let text = "- one\n  <!-- figure: a -->x<!-- /figure --> two";
    assert!(reports::splice::splice(text, &reports::figures::Figures::default()).is_err());
}

#[test]
fn the_findings_answer_first() {
    let store = Store::read(workspace()).unwrap();
    let rendered = artefacts::all(&store).unwrap();
    assert_eq!(
        rendered.missing,
        [],
        "every figure that the findings ask for is recorded"
    );
    let findings = rendered.findings.unwrap();
    let first: String = findings.split("\n## ").nth(1).unwrap().to_owned();
    for words in [
        "The answers",
        "Can the notification tell when a cgroup is empty?",
        "Is freezing needed before killing?",
        "answers/notification -->",
        "answers/freezing -->",
        "2.4 Notification API",
        "cgroup.event_control",
        "*removed*",
        "Since Linux 5.14",
        "5.2 to 5.13",
    ] {
        assert!(first.contains(words), "{words} is not in:\n{first}");
    }
    assert!(
        first.contains("later-range -->") && first.contains("freeze-kill/ratio-range -->"),
        "{first}"
    );
}
