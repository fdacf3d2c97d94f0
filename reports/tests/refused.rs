//! What `report add` refuses, and that it says which line of which file.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod made;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A root without datasets, and a campaign beside it.
fn campaign() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("raw");
    made::campaign(&dir, "run-a", made::detecting("run-a"));
    (root, dir)
}

/// The lines of a file, changed.
fn change(path: &Path, with: impl FnOnce(&mut Vec<Value>)) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    with(&mut lines);
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    fs::write(path, text.join("\n") + "\n").unwrap();
}

/// Changes one file of a campaign; what `add` says about it, having left no dataset.
fn refusal(file: &str, with: impl FnOnce(&mut Vec<Value>)) -> String {
    let (root, dir) = campaign();
    change(&dir.join(file), with);
    let error = format!(
        "{:#}",
        made::add(root.path(), "x", &dir, false).unwrap_err()
    );
    let left: Vec<_> = fs::read_dir(root.path().join("reports/data"))
        .map(|entries| entries.collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
    error
}

fn says(error: &str, words: &[&str]) {
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn a_campaign_as_it_was_recorded_is_taken_in() {
    let (root, dir) = campaign();
    made::add(root.path(), "x", &dir, false).unwrap();
}

#[test]
fn records_that_are_not_the_plans_are_refused() {
    let swapped = refusal("trials.jsonl", |trials| trials.swap(4, 5));
    says(
        &swapped,
        &["line 5 of trials.jsonl is not trial 4 of the plan"],
    );
    let missing = refusal("trials.jsonl", |trials| drop(trials.remove(7)));
    says(&missing, &["line 8 of trials.jsonl"]);
    let surplus = refusal("trials.jsonl", |trials| {
        let mut last = trials.last().unwrap().clone();
        last["seq"] = json!(trials.len());
        trials.push(last);
    });
    says(&surplus, &["one trial more than the plan has"]);
    for (field, value) in [
        ("seed", json!(2)),
        ("detector", json!("other")),
        ("twin", json!(3)),
        ("block", json!(9)),
    ] {
        let other = refusal("trials.jsonl", |trials| trials[2][field] = value);
        says(&other, &["line 3 of trials.jsonl is not trial 2"]);
    }
    let unordered = refusal("plan.json", |plan| plan[0]["blocks"] = json!([]));
    says(&unordered, &["plan.json has no blocks"]);
}

#[test]
fn impossible_stamps_are_refused() {
    let cases: [(&str, Value); 4] = [
        ("/stamps/spawn_ns", json!(1)),
        ("/stamps/running_ns", json!(5)),
        ("/verdict/decided_ns", json!(9_000_000_000_000_000u64)),
        ("/stamps/over_lower_ns", json!(9_000_000_000_000_000u64)),
    ];
    for (field, value) in cases {
        let error = refusal("trials.jsonl", |trials| {
            *trials[2].pointer_mut(field).unwrap() = value
        });
        says(&error, &["line 3 of trials.jsonl has impossible stamps"]);
    }
}

#[test]
fn a_trial_that_was_cut_short_is_refused() {
    let error = refusal("trials.jsonl", |trials| {
        trials.last_mut().unwrap()["outcome"] = json!("interrupted");
    });
    says(&error, &["was interrupted", "measure --resume"]);
}

#[test]
fn a_newer_schema_in_any_file_is_refused() {
    for (file, name) in [
        ("plan.json", "plan.json"),
        ("environment.json", "environment.json"),
        ("sittings.json", "sittings.json"),
        ("trials.jsonl", "line 1"),
        ("noise.jsonl", "line 1 of noise.jsonl"),
        ("scale.jsonl", "line 1 of scale.jsonl"),
    ] {
        let (root, dir) = campaign();
        let path = dir.join(file);
        if !path.exists() {
            fs::write(&path, "{\"schema\":1}\n").unwrap();
        }
        change(&path, |documents| documents[0]["schema"] = json!(99));
        let error = format!(
            "{:#}",
            made::add(root.path(), "x", &dir, false).unwrap_err()
        );
        says(&error, &[name, "schema 99"]);
    }
}

#[test]
fn an_error_names_the_line_of_the_file_and_not_that_of_the_text_in_it() {
    let (root, dir) = campaign();
    let path = dir.join("trials.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[6] = "{\"schema\":1,\"run\":}";
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let error = format!(
        "{:#}",
        made::add(root.path(), "x", &dir, false).unwrap_err()
    );
    says(&error, &["line 7 is not a trial record", "(column "]);
    assert!(!error.contains("line 1"), "{error}");
}

#[test]
fn sites_that_are_not_the_plans_are_refused() {
    let (root, dir) = campaign();
    let line = |mechanism: &str, sites: u64| {
        json!({"schema": 1, "run": "run-a", "mechanism": mechanism, "sites": sites, "populated": 1,
            "outcome": "right", "cpu_ns": 1})
        .to_string()
    };
    let taken = |lines: &[String]| {
        fs::write(dir.join("scale.jsonl"), lines.join("\n") + "\n").unwrap();
        made::add(root.path(), "x", &dir, true).map_err(|e| format!("{e:#}"))
    };
    taken(&[line("poll", 1), line("poll", 1), line("poll", 10)]).unwrap();
    for (lines, at) in [
        (
            vec![line("poll", 1), line("poll", 1), line("poll", 1)],
            "line 3",
        ),
        (vec![line("poll", 10)], "line 1"),
        (vec![line("poll", 1), line("other", 1)], "line 2"),
        (vec![line("poll", 1), line("poll", 100)], "line 2"),
    ] {
        says(
            &taken(&lines).unwrap_err(),
            &[at, "of scale.jsonl is not the next job of the plan"],
        );
    }
}

#[test]
fn an_existing_dataset_is_replaced_only_if_that_is_asked_for() {
    let (root, dir) = campaign();
    made::add(root.path(), "x", &dir, false).unwrap();
    let error = made::add(root.path(), "x", &dir, false)
        .unwrap_err()
        .to_string();
    says(&error, &["is there already", "--replace"]);
    // A campaign that is refused leaves what is there.
    let before = fs::read(root.path().join("reports/data/x/trials.jsonl.zst")).unwrap();
    change(&dir.join("trials.jsonl"), |trials| trials.swap(0, 1));
    made::add(root.path(), "x", &dir, true).unwrap_err();
    assert_eq!(
        fs::read(root.path().join("reports/data/x/trials.jsonl.zst")).unwrap(),
        before
    );
    made::campaign(&dir, "run-b", made::detecting("run-b"));
    made::add(root.path(), "x", &dir, true).unwrap();
    assert_ne!(
        fs::read(root.path().join("reports/data/x/trials.jsonl.zst")).unwrap(),
        before
    );
}

#[test]
fn long_work_says_what_it_does() {
    let (root, dir) = campaign();
    let said = std::cell::RefCell::new(Vec::new());
    let taking = reports::store::Taking {
        replace: false,
        progress: &|what| said.borrow_mut().push(what.to_owned()),
    };
    reports::store::add(root.path(), "x", &dir, &taking).unwrap();
    let said = said.into_inner().join("\n");
    says(
        &said,
        &[
            "reading",
            "comparing 560 trials",
            "compressing trials.jsonl",
        ],
    );
}

/// The committed datasets are older than some of the checks of `add`.
#[test]
fn the_committed_datasets_would_be_taken_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for dataset in reports::store::Store::read(root).unwrap().datasets {
        let verified = dataset.verify();
        assert!(
            verified.is_ok(),
            "{}: {:#}",
            dataset.name,
            verified.unwrap_err()
        );
    }
}
