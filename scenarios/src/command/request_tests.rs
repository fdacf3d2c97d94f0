//! What a command line means.

use clap::Parser;

use super::super::args::Cli;
use super::*;

fn request(words: &[&str]) -> Result<Request, String> {
    let cli = Cli::try_parse_from([&["scenario"], words].concat()).unwrap();
    resolve(&cli.run).map_err(|f| f.error.to_string())
}

fn ids(subjects: &[Subject]) -> Vec<&str> {
    subjects.iter().map(Subject::id).collect()
}

#[test]
fn a_bomb_brings_both_planes() {
    let request = request(&["forkbomb"]).unwrap();
    assert_eq!(ids(&request.killed), ["forkbomb"]);
    let watched = ids(&request.watched);
    assert!(watched.contains(&"exit-now") && watched.contains(&"setsid"));
    assert!(
        !watched.contains(&"forkbomb") && !watched.contains(&"owner-removes"),
        "{watched:?}"
    );
    assert_eq!(request.trials, FEW_TRIALS);
}

#[test]
fn a_scenario_that_ends_is_only_watched_unless_a_kill_is_asked_for() {
    let plain = request(&["setsid"]).unwrap();
    assert_eq!(
        (ids(&plain.watched), plain.killed.len(), plain.trials),
        (vec!["setsid"], 0, SOME_TRIALS)
    );
    let both = request(&["setsid", "--kill", "killpg"]).unwrap();
    assert_eq!(
        (ids(&both.watched), ids(&both.killed)),
        (vec!["setsid"], vec!["setsid"])
    );
}

#[test]
fn a_plane_can_be_left_out() {
    assert!(
        request(&["forkbomb", "--detector", "none"])
            .unwrap()
            .watched
            .is_empty()
    );
    assert!(
        request(&["forkbomb", "--kill", "none"])
            .unwrap()
            .killed
            .is_empty()
    );
    assert!(
        request(&["setsid", "--detector", "none"])
            .unwrap_err()
            .contains("nothing is left to run")
    );
}

#[test]
fn wrong_names_are_answered_with_the_nearest() {
    for (words, nearest) in [
        (vec!["forkbom"], "forkbomb"),
        (
            vec!["exit-now", "--detector", "waitpid-mian"],
            "waitpid-main",
        ),
        (vec!["forkbomb", "--kill", "cgroup-kil"], "cgroup-kill"),
        (vec!["docter"], "doctor"),
    ] {
        let error = request(&words).unwrap_err();
        assert!(
            error.contains("nearest are") && error.contains(nearest),
            "{error}"
        );
    }
}

#[test]
fn strategies_can_be_asked_for_by_what_they_claim() {
    let ids = STRATEGIES.iter().map(|s| s.spec().id);
    let procs = ids.filter(|id| id.starts_with("procs-")).count();
    for (words, wanted, ids) in [
        (&["--kill", "sound"][..], Claim::Sound, STRATEGIES.len()),
        (&["--kill", "unsound,procs-*"], Claim::Unsound, procs),
        (&["--kill", "sound,unsound"], Claim::Any, STRATEGIES.len()),
        (&[], Claim::Any, STRATEGIES.len()),
    ] {
        let request = request(&[&["forkbomb"], words].concat()).unwrap();
        assert_eq!(
            (request.claim, request.strategies.ids.len()),
            (wanted, ids),
            "{words:?}"
        );
    }
    let spec = kill::by_id("cgroup-kill").unwrap().spec();
    assert!(Claim::Sound.admits(spec, KillExpectation::Empties));
    assert!(!Claim::Sound.admits(spec, KillExpectation::Survives("a known fault")));
    let rude = kill::by_id("killpg").unwrap().spec();
    assert!(
        Claim::Unsound.admits(rude, KillExpectation::Empties),
        "it does not claim it"
    );
}

#[test]
fn a_scope_stands_for_its_detectors() {
    let request = request(&["setsid", "--detector", "scope:cgroup"]).unwrap();
    let ids = &request.detectors.ids;
    assert!(
        ids.contains(&"cgroup-events-poll") && !ids.contains(&"pidfd-main"),
        "{ids:?}"
    );
}

#[test]
fn who_watches_a_kill_sees_all_of_it() {
    assert_eq!(request(&["forkbomb"]).unwrap().references.ids, REFERENCES);
    let one = request(&["forkbomb", "--reference", "subreaper+cgroup-events"]).unwrap();
    assert_eq!(one.references.ids, ["subreaper+cgroup-events"]);
    for (bad, why) in [
        ("pidfd-main", "it sees: main"),
        ("nobody", "unknown reference"),
        ("none", "at least one detector"),
    ] {
        let error = request(&["forkbomb", "--reference", bad]).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_command_among_scenarios_is_called_one() {
    let error = request(&["forkbomb", "doctor"]).unwrap_err();
    assert!(error.contains("doctor is a command"), "{error}");
}

#[test]
fn an_axis_is_set_once() {
    for (sets, why) in [
        (&["lifetime=0", "lifetime=5ms"][..], "lifetime is set twice"),
        (&["lifetime=0,5ms,0"], "0 is given twice"),
    ] {
        let words: Vec<&str> = ["exit-now"]
            .into_iter()
            .chain(sets.iter().flat_map(|s| ["--set", *s]))
            .collect();
        let error = request(&words).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn assignments_need_an_axis_and_values() {
    assert_eq!(
        assignment("a=1,2").unwrap(),
        ("a".to_owned(), vec!["1".to_owned(), "2".to_owned()])
    );
    for bad in ["a", "a=", "=1", "a=1,,2"] {
        assert!(assignment(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn all_is_every_row_once_within_a_budget_unless_its_length_is_chosen() {
    let of = |words: &[&str]| {
        let cli = Cli::try_parse_from([&["scenario"], words].concat()).unwrap();
        of_run(&cli.run).map_err(|f| f.error.to_string())
    };
    let length = |words: &[&str]| of(words).map(|r| (r.trials, r.budget)).unwrap();
    assert_eq!(length(&["all"]), (1, Some(BUDGET)));
    assert_eq!(length(&["all", "--full"]), (FEW_TRIALS, None));
    assert_eq!(length(&["all", "--trials", "7"]), (7, None));
    assert_eq!(length(&["all", "--budget", "1m"]), (1, Some(BUDGET / 5)));
    assert_eq!(length(&["setsid"]), (SOME_TRIALS, None));
    for wrong in [
        &["setsid", "--full"][..],
        &["all", "--full", "--budget", "1m"],
    ] {
        assert!(of(wrong).is_err(), "{wrong:?}");
    }
}
