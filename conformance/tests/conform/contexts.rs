//! Where launchers are run: at a terminal, as an ordinary user, and the library itself.

use super::support::{cell, command, fixture, only_broken, score, works};
use conformance::adapter::find;
use conformance::score::{Score, Scores, Verdict};

/// The score of a shipped adapter.
fn shipped(name: &str, args: &[&str]) -> Score {
    let output = command()
        .arg(name)
        .args(["--quiet", "--seed", "1", "--format", "json"])
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    let scores = Scores::read(&text).unwrap_or_else(|e| panic!("{e}: {said}{text}"));
    scores.launchers.into_iter().next().unwrap()
}

#[test]
fn at_a_terminal_its_streams_are_that_terminal_and_control_c_ends_the_foreground() {
    if !works() {
        return;
    }
    let promises = ["--promise", "int,status,strangers"];
    let (there, _) = score(
        "wants-a-terminal",
        &[&promises[..], &["--terminal"]].concat(),
    );
    only_broken(&there, &[]);
    assert_eq!(cell(&there, "status", 0).verdict, Verdict::Kept);
    let int = cell(&there, "int", 0);
    // `child-group` is kept: the kernel has sent the signal to both. `child` alone is not.
    assert!(int.kept >= 1, "{int:?}");
    let group = there.trials.iter().find(|t| t.case == "int/child-group");
    assert_eq!(group.unwrap().judged, "kept", "{there:?}");
    let again = int.again.as_deref().unwrap_or(" --terminal");
    assert!(again.contains(" --terminal"), "{again}");

    let (without, code) = score("wants-a-terminal", &promises);
    assert!(without.unusable.is_some(), "{without:?}");
    assert_eq!(code, 1);
}

/// As `nohup` and the background of a shell script have it.
#[test]
fn signals_that_the_suite_ignores_are_not_ignored_by_what_it_plays() {
    if !works() {
        return;
    }
    let own = env!("CARGO_BIN_EXE_allgone-conform");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("scores.json");
    let script = "trap '' INT HUP QUIT TERM; exec \"$@\"";
    let mut suite = std::process::Command::new("sh");
    suite
        .args(["-c", script, "sh", own])
        .arg(fixture("executes"));
    suite
        .args(["--quiet", "--promise", "hup,int", "--out"])
        .arg(&out);
    suite.output().unwrap();
    let scores = Scores::read(&std::fs::read_to_string(out).unwrap()).unwrap();
    for case in ["hup/alone", "int/alone", "hup/child-group"] {
        let mut trials = scores.launchers[0].trials.iter();
        let trial = trials.find(|trial| trial.case == case).unwrap();
        assert_eq!(trial.judged, "kept", "{trial:?}");
    }
}

#[test]
fn an_ordinary_user_has_a_cgroup_of_its_own() {
    if !works() {
        return;
    }
    let args = ["--promise", "status", "--user", "1000"];
    let (user, _) = score("makes-a-cgroup", &args);
    only_broken(&user, &[]);
    assert_eq!(cell(&user, "status", 0).verdict, Verdict::Kept);
}

/// Where nothing may be mounted and no namespace made, what needs that cannot be played, and a
/// launcher that needs nothing is scored as outside.
#[test]
fn in_a_container_launchers_have_what_docker_gives_them() {
    if !works() {
        return;
    }
    if find("runc").is_none() {
        println!("left out: runc is not installed");
        return;
    }
    let args = ["--promise", "status,no-start,end-wait", "--container"];
    let (bound, _) = score("is-bound", &args);
    only_broken(&bound, &[]);
    assert_eq!(cell(&bound, "status", 0).verdict, Verdict::Kept);
    // `sound` makes a PID namespace.
    let (sound, _) = score("sound", &args);
    let why = sound.unusable.unwrap();
    assert!(why.contains("unshare"), "{why}");
}

#[test]
fn the_library_keeps_what_its_adapters_claim() {
    if !works() {
        return;
    }
    for id in ["allgone-job", "allgone-job-kill"] {
        let promises = "end-kill,end-wait,limit,no-start,status,term";
        let score = shipped(id, &["--promise", promises, "--runs", "1"]);
        only_broken(&score, &[]);
        let term = cell(&score, "term", 1);
        assert_eq!(term.verdict, Verdict::Kept, "{term:?}");
    }
}
