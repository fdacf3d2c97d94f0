//! The recorded scores, and the page that is made of them.

use std::path::Path;

use super::support::command;
use conformance::adapter::SHIPPED;
use conformance::score::Scores;

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
