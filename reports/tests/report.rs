//! From made-up records to files, and the detection of an edited digit. The last test checks the
//! committed files.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod made;

use std::fs;
use std::path::{Path, PathBuf};

use reports::artefacts;
use reports::check::check;
use reports::store::Store;
use reports::summary::Summary;

fn made() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    made::workspace(root.path());
    root
}

fn generated(root: &Path, name: &str) -> PathBuf {
    root.join("reports/generated").join(name)
}

fn summary(root: &Path) -> Summary {
    serde_json::from_str(&fs::read_to_string(generated(root, "summary.json")).unwrap()).unwrap()
}

#[test]
fn what_was_rendered_is_what_the_records_give() {
    let root = made();
    assert_eq!(check(root.path()).unwrap(), []);
}

#[test]
fn one_edited_digit_of_a_table_is_found() {
    let root = made();
    let path = generated(root.path(), "latency.md");
    let text = fs::read_to_string(&path).unwrap();
    let line = text
        .lines()
        .position(|l| l.contains("`never-heard-of`"))
        .unwrap();
    let at = text.lines().take(line).map(|l| l.len() + 1).sum::<usize>();
    let digit = at + text[at..].find("1.0").unwrap();
    let mut edited = text.clone();
    edited.replace_range(digit..=digit, "2");
    fs::write(&path, edited).unwrap();
    let found = check(root.path()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].file.as_str(), found[0].line),
        ("reports/generated/latency.md", line + 1)
    );
    fs::write(&path, text).unwrap();
    assert_eq!(check(root.path()).unwrap(), []);
}

#[test]
fn one_edited_digit_of_the_findings_is_found() {
    let root = made();
    let path = root.path().join("reports/findings.md");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("-->1.0"), "the figure is spliced in: {text}");
    assert!(
        text.contains("-->not recorded<!--"),
        "an absent dataset is said to be absent: {text}"
    );
    fs::write(&path, text.replacen("-->1.0", "-->9.0", 1)).unwrap();
    let found = check(root.path()).unwrap();
    let places: Vec<(&str, usize)> = found.iter().map(|d| (d.file.as_str(), d.line)).collect();
    assert_eq!(places, [("reports/findings.md", 3)], "{found:?}");
}

#[test]
fn an_edited_trial_is_found() {
    let root = made();
    let raw = root.path().join("raw/latency");
    let path = raw.join("trials.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replacen("\"outcome\":\"right\"", "\"outcome\":\"early\"", 1),
    )
    .unwrap();
    made::take(root.path(), "latency", &raw);
    let files: Vec<String> = check(root.path())
        .unwrap()
        .into_iter()
        .map(|d| d.file)
        .collect();
    for name in ["latency.md", "latency.csv", "summary.json", "index.html"] {
        assert!(
            files.contains(&format!("reports/generated/{name}")),
            "{name} is not in {files:?}"
        );
    }
}

#[test]
fn a_file_that_nobody_made_and_a_file_that_is_missing_are_found() {
    let root = made();
    fs::write(generated(root.path(), "surplus.md"), "x\n").unwrap();
    fs::remove_file(generated(root.path(), "latency.csv")).unwrap();
    let found: Vec<String> = check(root.path())
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("reports/generated/latency.csv:1: committed nothing"),
        "{found:?}"
    );
    assert!(found[1].ends_with("computed nothing"), "{found:?}");
}

#[test]
fn every_artefact_begins_with_its_command_and_its_runs() {
    let root = made();
    let rendered = artefacts::all(&Store::read(root.path()).unwrap()).unwrap();
    assert!(
        rendered.artefacts.len() > 10,
        "{:?}",
        rendered.artefacts.keys()
    );
    for (name, text) in &rendered.artefacts {
        let head: String = text.lines().take(60).collect::<Vec<_>>().join("\n");
        assert!(head.contains("report render"), "{name} names no command");
        assert!(
            head.contains("run-") || name == "emulated.md",
            "{name} names no run"
        );
    }
}

#[test]
fn nobodys_place_is_kept() {
    let root = made();
    for entry in fs::read_dir(root.path().join("reports/data/latency")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let text = match path.extension().is_some_and(|e| e == "zst") {
            true => zstd::decode_all(bytes.as_slice()).unwrap(),
            false => bytes,
        };
        let text = String::from_utf8(text).unwrap();
        assert!(
            !text.contains("secret-place") && !text.contains("somebody's"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn ids_that_nobody_knows_show_up_with_their_figures() {
    let root = made();
    let summary = summary(root.path());
    let slow = summary
        .rows
        .iter()
        .find(|r| {
            r.dataset == "latency" && r.detector == "never-heard-of" && r.params["lifetime"] == 0
        })
        .unwrap();
    let ratio = slow.ratio_to_waitpid.unwrap();
    assert!((9.0..11.0).contains(&ratio), "{ratio}");
    assert!(slow.p_holm.unwrap() < 0.05);
    assert_eq!(
        (slow.n, slow.right, slow.launch_ns),
        (40, 40, Some(160_000))
    );
    let sleepy = summary
        .rows
        .iter()
        .find(|r| r.detector == "sleepy" && r.missed > 0)
        .unwrap();
    assert_eq!(
        (sleepy.missed, sleepy.p90_ns),
        (10, None),
        "a quarter is missed, so the 90th percentile lies beyond"
    );
    let hopeless = summary
        .rows
        .iter()
        .find(|r| r.strategy.as_deref() == Some("hopeless"))
        .unwrap();
    assert_eq!(
        (hopeless.survived, hopeless.p50_ns, hopeless.survivors_max),
        (40, None, 1)
    );
    assert_eq!(hopeless.canaries_hit["same-group"], 40);
    let quick = summary
        .rows
        .iter()
        .find(|r| r.strategy.as_deref() == Some("cgroup-kill"))
        .unwrap();
    assert_eq!(
        quick.n, 40,
        "detectors that take turns make no rows of their own"
    );
    let knowing = quick.knowing["watcher"];
    assert_eq!((knowing.n, knowing.late, knowing.never), (20, 0, 0));
    // The first signal comes 20 us after the decision.
    assert_eq!(quick.holding_ns, Some(20_000));
    assert_eq!(quick.dying_ns.map(|ns| ns + 20_000), quick.p50_ns);
    assert_eq!(
        (slow.idle_cpu_ns, slow.idle_wakeups),
        (Some(2_000_000), Some(5))
    );
    assert_eq!(summary.scale.len(), 3);
    let many = &summary.scale[2];
    assert_eq!(
        (many.sites, many.populated, many.n, many.right),
        (100, Some(1), 2, 1)
    );
    let figures: Vec<(&str, u64)> = many
        .medians
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(
        figures,
        [("cpu_ns", 1_000), ("latency_ns", 100_000)],
        "stamps are no figures"
    );
}

#[test]
fn an_axis_of_a_mechanism_tears_no_scenario_apart_and_tells_its_rows_apart() {
    let root = tempfile::tempdir().unwrap();
    let mut trials = made::detecting("run-d");
    for block in 0..made::BLOCKS {
        for interval in [1_000, 5_000] {
            let mut trial = made::trial(
                "run-d",
                block,
                "a-poller",
                1_000_000,
                Some(made::latency(150_000 + interval, block, 5)),
            );
            trial.params.insert("interval".to_owned(), interval);
            trials.push(trial);
        }
    }
    let dir = root.path().join("raw");
    made::campaign(&dir, "run-d", trials);
    made::take(root.path(), "axes", &dir);
    let store = Store::read(root.path()).unwrap();
    let analysis = reports::analysis::Analysis::of(&store);
    let cells = &analysis.campaigns[0].cells;
    let mut labels: Vec<&str> = cells.iter().map(|cell| cell.row.label.as_str()).collect();
    labels.dedup();
    assert_eq!(
        labels,
        [
            "made-up lifetime=0",
            "made-up lifetime=1000000",
            "made-up lifetime=5000000",
            "other-case lifetime=0"
        ]
    );
    let names: Vec<String> = cells
        .iter()
        .filter(|c| c.mechanism() == "a-poller")
        .map(|c| c.name())
        .collect();
    assert_eq!(names, ["a-poller interval=1000", "a-poller interval=5000"]);
    let medians: Vec<_> = cells[4..10]
        .iter()
        .map(|cell| cell.latency.median())
        .collect();
    assert!(medians.is_sorted(), "{medians:?}");
}

#[test]
fn plots_follow_from_what_was_recorded() {
    let root = made();
    let names = [
        "latency-made-up-lifetime-latency.svg",
        "latency-verdicts.svg",
        "latency-ecdf-other-case-lifetime-0.svg",
        "kill-size-made-up-sleepers-duration.svg",
        "kill-size-bars-made-up-sleepers-10.svg",
        "kill-size-sites-cpu.svg",
        "trials/latency.js",
        "latency-twins.csv",
        "latency-diff.csv",
        "kill-size-sites.csv",
        "preview.png",
    ];
    for name in names {
        let there = generated(root.path(), name).exists();
        // One detector alone is right on the other case, and one line makes no comparison.
        assert_eq!(there, name != names[2], "{name}");
    }
}

#[test]
fn alike_rows_and_a_repeated_campaign_are_not_told_apart() {
    let root = made();
    let text = fs::read_to_string(generated(root.path(), "latency-diff.md")).unwrap();
    assert!(
        text.contains("0 of 14 rows changed between latency and latency-again"),
        "{text}"
    );
    let text = fs::read_to_string(generated(root.path(), "latency.md")).unwrap();
    assert!(text.contains("None of 3 pairs is told apart"), "{text}");
}

#[test]
fn nothing_recorded_is_a_statement() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("reports/data")).unwrap();
    reports::command::write_all(&Store::read(root.path()).unwrap()).unwrap();
    let index = fs::read_to_string(generated(root.path(), "README.md")).unwrap();
    assert!(index.contains("Nothing is recorded yet."), "{index}");
    assert_eq!(check(root.path()).unwrap(), []);
}

#[test]
fn a_directory_that_is_no_campaign_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let empty = root.path().join("empty");
    fs::create_dir_all(&empty).unwrap();
    let error = format!(
        "{:#}",
        made::add(root.path(), "x", &empty, false).unwrap_err()
    );
    assert!(
        error.contains("plan.json") && error.contains("scenario measure"),
        "{error}"
    );
    assert!(made::add(root.path(), "Not A Name", &empty, false).is_err());
    assert!(!root.path().join("reports/data/x").exists());
}

/// Everything that is committed in `reports/generated` and `reports/findings.md`, from the
/// committed trials.
#[test]
fn the_committed_report_is_what_the_committed_trials_give() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let found: Vec<String> = check(root)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        found.is_empty(),
        "cargo run --release --bin report render, and look at git diff:\n  {}",
        found.join("\n  ")
    );
}
