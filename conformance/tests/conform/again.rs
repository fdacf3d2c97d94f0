//! Runs that go on where another ended, and runs that are repeated.

use std::path::Path;

use super::support::{command, fixture, works};
use conformance::score::Scores;

fn scores(path: &Path) -> Scores {
    Scores::read(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `status` of two launchers, with more arguments: the exit code, and what was said.
fn play(out: &Path, more: &[&str]) -> (i32, String) {
    let output = command()
        .args([fixture("sound"), fixture("loses-the-status")])
        .args(["--promise", "status", "--resume", "--out"])
        .arg(out)
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

#[test]
fn a_run_that_was_interrupted_plays_only_what_is_missing() {
    if !works() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("scores.json");
    let (code, said) = play(&out, &[]);
    assert_eq!(code, 1, "{said}");
    let whole = scores(&out);
    let ids: Vec<&str> = whole
        .launchers
        .iter()
        .map(|s| s.launcher.as_str())
        .collect();
    assert_eq!(ids, ["sound", "loses-the-status"]);
    assert!(!whole.launchers[0].load.is_empty() && whole.launchers[0].took_ms.is_some());

    // As if it had been interrupted after the second one, and the first had been lost.
    let mut part = whole.clone();
    part.launchers.remove(0);
    std::fs::write(&out, serde_json::to_string(&part).unwrap()).unwrap();
    let (_, said) = play(&out, &[]);
    assert!(said.contains("sound …"), "{said}");
    assert!(!said.contains("loses-the-status …"), "{said}");
    let again = scores(&out);
    assert_eq!(again.launchers[1], whole.launchers[1]);
    assert_eq!(again.seed, whole.seed);
    let ids: Vec<&str> = again
        .launchers
        .iter()
        .map(|s| s.launcher.as_str())
        .collect();
    assert_eq!(ids, ["sound", "loses-the-status"]);

    // Nothing is missing, and nothing is played.
    let (_, said) = play(&out, &[]);
    assert!(!said.contains('…'), "{said}");
    // What was played otherwise is not mixed in.
    let (code, said) = play(&out, &["--runs", "4"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("two ways of playing"), "{said}");
    assert_eq!(scores(&out), again);
}

#[test]
fn verdicts_of_a_launcher_that_is_scored_again_are_compared() {
    if !works() {
        return;
    }
    let repeat = |name: &str| {
        let output = command()
            .args(["repeat", "--times", "2", "--busy", "2", "--quiet"])
            .args(["--promise", "status"])
            .arg(fixture(name))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap(), said)
    };
    let (code, said) = repeat("sound");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("scored 4 times"), "{said}");
    assert!(
        said.contains("kept 4") && said.contains("the same"),
        "{said}"
    );
    let (code, said) = repeat("loses-the-status");
    // Broken each time, in the same cases: that is steady, too.
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("broken 4"), "{said}");
}

/// Twenty rounds as the machine is, and twenty with both processors busy: `CONFORM_LAUNCHERS` names
/// the launchers, `CONFORM_PROMISES` what is played.
#[test]
#[ignore = "forty scores of a launcher: cargo test --workspace --test conform -- --ignored"]
fn twenty_rounds_give_the_same_verdicts_idle_and_busy() {
    if !works() {
        return;
    }
    let or = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let launchers = or("CONFORM_LAUNCHERS", "timeout,allgone-cgroup");
    let promises = or("CONFORM_PROMISES", "status,term,limit,end-kill,strangers");
    let output = command()
        .args(["repeat", "--times", "20", "--busy", "2", "--quiet"])
        .args(["--promise", &promises])
        .args(launchers.split(','))
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}
