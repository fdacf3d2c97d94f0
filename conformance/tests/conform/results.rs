//! The recorded scores, and the page that is made of them.

use std::path::Path;

use super::support::command;
use conformance::adapter::{Adapter, SHIPPED};
use conformance::score::{Scores, Verdict};

#[test]
fn the_page_says_what_was_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let output = command()
        .arg("render")
        .arg(dir.join("scores.json"))
        .output()
        .unwrap();
    assert!(output.status.success());
    let page = std::fs::read_to_string(dir.join("README.md")).unwrap();
    let (_, made) = page.split_once("<!-- made -->\n").unwrap();
    assert!(
        made == String::from_utf8(output.stdout).unwrap(),
        "results/README.md is not what `allgone-conform render results/scores.json` prints"
    );
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

/// Cells are made of trials, and verdicts of cells and of what the adapters claim now.
#[test]
fn every_recorded_verdict_follows_from_its_trials() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/scores.json");
    let scores = Scores::read(&std::fs::read_to_string(path).unwrap()).unwrap();
    for score in &scores.launchers {
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
