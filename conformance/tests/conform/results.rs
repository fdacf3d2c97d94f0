//! The recorded scores, and the page that is made of them.

use std::path::Path;

use super::support::command;
use conformance::adapter::{Adapter, PROMISE_IDS, SHIPPED};
use conformance::score::known::{notes, truths};
use conformance::score::{Score, Scores, Verdict};

fn recorded(name: &str) -> Vec<Score> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let text = std::fs::read_to_string(dir.join(name)).unwrap();
    Scores::read(&text).unwrap().launchers
}

#[test]
fn the_page_says_what_was_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    for (page, scores) in [("README.md", "scores.json"), ("allgone.md", "allgone.json")] {
        let output = command()
            .arg("render")
            .arg(dir.join(scores))
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = std::fs::read_to_string(dir.join(page)).unwrap();
        let (_, made) = text.split_once("<!-- made -->\n").unwrap();
        assert!(
            made == String::from_utf8(output.stdout).unwrap(),
            "results/{page} is not what `allgone-conform render results/{scores}` prints"
        );
    }
}

/// The same as HTML; and a link into it for each place of the table.
#[test]
fn the_page_in_html_says_what_was_recorded_and_each_place_leads_to_its_trials() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let output = command()
        .args(["render", "--html"])
        .arg(dir.join("scores.json"))
        .output()
        .unwrap();
    let made = String::from_utf8(output.stdout).unwrap();
    assert!(
        std::fs::read_to_string(dir.join("index.html")).unwrap() == made,
        "results/index.html is not what `allgone-conform render --html results/scores.json` prints"
    );
    let links: Vec<&str> = made
        .split("<a href=\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(links.len() > 300, "{}", links.len());
    for link in links {
        assert!(made.contains(&format!("id=\"{link}\"")), "{link}");
    }
    let scores = Scores::read(&std::fs::read_to_string(dir.join("scores.json")).unwrap()).unwrap();
    let trials: usize = scores.launchers.iter().map(|s| s.trials.len()).sum();
    let rows = scores.launchers.iter().flat_map(|s| &s.trials);
    let rows = rows.filter(|trial| made.contains(&format!("<tr><td>{}<td>", trial.case)));
    assert_eq!(rows.count(), trials);
}

/// What did not keep something is explained by hand, and nothing else is.
#[test]
fn there_is_a_note_for_each_launcher_that_did_not_keep_something() {
    let launchers: Vec<Score> = ["scores.json", "allgone.json"].map(recorded).concat();
    let notes = notes().unwrap();
    for score in &launchers {
        let bad = score.cells.iter().any(|c| c.broken + c.unknown > 0);
        let note = notes.contains_key(&score.launcher);
        assert_eq!(
            note, bad,
            "{}: a note in results/notes.toml",
            score.launcher
        );
    }
    let known = |id: &String| launchers.iter().any(|s| s.launcher == *id);
    assert!(notes.keys().all(known), "{:?}", notes.keys());
}

/// What was known before is in the record, or it is said why not.
#[test]
fn what_was_known_before_agrees_with_the_record_or_the_difference_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/scores.json");
    let scores = Scores::read(&std::fs::read_to_string(path).unwrap()).unwrap();
    let truths = truths().unwrap();
    assert!(truths.len() >= 25);
    for truth in &truths {
        let compared = truth.compare(&scores);
        assert!(compared.agree + compared.differ > 0, "{truth:?}");
        let differs = compared.differ > 0;
        assert_eq!(truth.differs.is_some(), differs, "{compared:?}: {truth:?}");
        for id in &truth.launchers {
            assert!(SHIPPED.iter().any(|(known, _)| known == id), "{id}");
        }
    }
}

#[test]
fn every_launcher_that_was_recorded_is_shipped() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/scores.json");
    let scores = Scores::read(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(
        scores
            .launchers
            .iter()
            .filter(|score| score.skipped.is_none())
            .count()
            >= 25
    );
    for score in &scores.launchers {
        assert!(
            SHIPPED.iter().any(|(id, _)| *id == score.launcher),
            "{}",
            score.launcher
        );
    }
}

/// This project's launcher in each tier, and its library, with all promises.
#[test]
fn allgone_keeps_everything_that_it_claims() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/allgone.json");
    let scores = Scores::read(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(scores.all_kept());
    assert_eq!(scores.promises.len(), PROMISE_IDS.len());
    let its = SHIPPED
        .iter()
        .map(|(id, _)| *id)
        .filter(|id| id.starts_with("allgone-"));
    let recorded: Vec<&str> = scores
        .launchers
        .iter()
        .map(|s| s.launcher.as_str())
        .collect();
    assert_eq!(recorded, its.collect::<Vec<_>>());
    for score in &scores.launchers {
        assert!(score.skipped.is_none(), "{}", score.launcher);
        let kept = score.cells.iter().filter(|c| c.verdict == Verdict::Kept);
        assert!(kept.count() >= 20, "{}", score.launcher);
        assert!(!score.load.is_empty() && score.took_ms.is_some());
    }
}

/// Cells are made of trials, and verdicts of cells and of what the adapters claim now.
#[test]
fn every_recorded_verdict_follows_from_its_trials() {
    for score in &["scores.json", "allgone.json"].map(recorded).concat() {
        let adapter = Adapter::load(&score.launcher).unwrap();
        for cell in &score.cells {
            let at = format!("{} {} {}", score.launcher, cell.promise, cell.level);
            let claimed = adapter.claims.has(&cell.promise, cell.level);
            if cell.judged() + cell.unknown == 0 {
                assert!(cell.why.is_some(), "{at}");
                continue;
            }
            let verdict = Verdict::of(claimed, cell.kept, cell.broken, cell.unknown);
            assert_eq!(cell.verdict, verdict, "{at}");
            let its = |case: &str| case.split('/').next() == Some(&cell.promise);
            let trials = score.trials.iter().filter(|trial| its(&trial.case));
            let count = |judged: &str| trials.clone().filter(|t| t.judged == judged).count();
            let of_all = |counted: fn(&conformance::score::Cell) -> usize| {
                let cells = score.cells.iter().filter(|c| c.promise == cell.promise);
                cells.map(counted).sum::<usize>()
            };
            assert_eq!(of_all(|c| c.kept), count("kept"), "{at}");
            assert_eq!(of_all(|c| c.broken), count("broken"), "{at}");
            assert_eq!(of_all(|c| c.unknown), count("unknown"), "{at}");
        }
    }
}
