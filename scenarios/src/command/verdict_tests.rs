//! Tests of the sentences.

use std::collections::BTreeMap;

use harness::expect::Canary;

use super::super::costs::Costs;
use super::super::stats::Sample;
use super::super::summary::{Broken, KillFigures, RowKey};
use super::*;

fn row(plane: Plane, mechanism: &str, outcomes: &[(Outcome, usize)]) -> Row {
    let n = outcomes.iter().map(|(_, n)| n).sum();
    Row {
        key: RowKey {
            plane,
            scenario: "setsid".to_owned(),
            mechanism: mechanism.to_owned(),
        },
        expected: "the best".to_owned(),
        n,
        outcomes: outcomes.iter().copied().collect(),
        held: n,
        latency: Sample::new(vec![1_000; n], 0),
        between: super::super::summary::Bounds::default(),
        wakeups: Sample::default(),
        cpu: Sample::default(),
        population: None,
        costs: Costs::default(),
        kill: KillFigures::default(),
        broken: Vec::new(),
    }
}

#[test]
fn who_is_early_is_named_with_the_scenario() {
    let rows = [
        row(Plane::Detect, "waitpid-main", &[(Outcome::Early, 3)]),
        row(Plane::Detect, "subreaper", &[(Outcome::Right, 3)]),
    ];
    let line = detect(&rows).unwrap();
    assert!(
        line.starts_with("Detect: 1 of 2 detectors were right in every trial; "),
        "{line}"
    );
    assert!(
        line.contains("waitpid-main said \"empty\" while something lived"),
        "{line}"
    );
    assert_eq!(kill(&rows), None);
}

#[test]
fn what_no_mechanism_can_do_anything_about_is_set_apart_and_named() {
    let on = |plane, scenario: &str, mechanism, outcome| {
        let mut row = row(plane, mechanism, &[(outcome, 3)]);
        row.key.scenario = scenario.to_owned();
        row
    };
    let early = |scenario| on(Plane::Detect, scenario, "subreaper", Outcome::Early);
    let left = |scenario| on(Plane::Kill, scenario, "cgroup-kill", Outcome::Survived);
    let rows = [
        early("broker lifetime=150ms"),
        on(Plane::Detect, "setsid", "subreaper", Outcome::Right),
        left("broker"),
        on(Plane::Kill, "setsid", "cgroup-kill", Outcome::Emptied),
    ];
    let line = detect(&rows).unwrap();
    assert!(
        line.starts_with("Detect: 1 of 1 detectors were right"),
        "{line}"
    );
    assert!(
        line.contains("not counted: broker lifetime=150ms, whose end"),
        "{line}"
    );
    let line = kill(&rows).unwrap();
    assert!(
        line.starts_with("Kill: 1 of 1 strategies left nothing"),
        "{line}"
    );
    assert!(line.contains("not counted: broker, which"), "{line}");
    // Alone it is what was asked for, and a failure elsewhere counts as ever.
    assert!(
        detect(&[early("broker")])
            .unwrap()
            .starts_with("Detect: 0 of 1")
    );
    assert!(
        detect(&[early("setsid")])
            .unwrap()
            .starts_with("Detect: 0 of 1")
    );
    assert!(
        kill(&[left("setsid")])
            .unwrap()
            .starts_with("Kill: none of 1")
    );
}

#[test]
fn survivors_and_bystanders_are_told_apart() {
    let mut leaky = row(Plane::Kill, "kill-main", &[(Outcome::Survived, 300)]);
    leaky.kill.survivors_max = 7;
    let mut rude = row(Plane::Kill, "killpg", &[(Outcome::Emptied, 300)]);
    rude.kill.canaries = BTreeMap::from([(Canary::SameGroup, 300)]);
    let rows = [
        row(Plane::Kill, "cgroup-kill", &[(Outcome::Emptied, 300)]),
        leaky,
        rude,
    ];
    let line = kill(&rows).unwrap();
    for part in [
        "1 of 3 strategies left nothing alive and hit nothing else (survivors in 0 of 300 \
            trials each; a true rate of up to 1.0 %",
        "kill-main left processes alive, up to 7",
        "killpg hit bystanders",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn a_failed_expectation_is_listed_with_its_reason() {
    let mut bad = row(
        Plane::Detect,
        "subreaper",
        &[(Outcome::Early, 1), (Outcome::Right, 1)],
    );
    assert_eq!(
        texts(&expectations(std::slice::from_ref(&bad), 2, "")),
        ["Every expectation held (2 of 2 trials)."]
    );
    bad.held = 1;
    bad.broken = vec![Broken {
        seq: 4,
        outcome: Outcome::Early,
        cause: None,
        note: Some("process 7 was alive".to_owned()),
    }];
    let lines = expectations(&[bad], 2, "");
    assert_eq!(
        lines[0],
        Line::failed("Expectations did not hold in 1 of 2 trials:")
    );
    let rest = texts(&lines[1..]).join(" ");
    assert!(
        rest.contains("trial 4: subreaper on setsid: early; expected: the best; process 7"),
        "{rest}"
    );
    assert_eq!(
        texts(&expectations(&[], 0, "")),
        ["No trial was run to its end."]
    );
}

#[test]
fn an_interruption_is_no_failure() {
    let mut cut = row(Plane::Detect, "subreaper", &[(Outcome::Interrupted, 1)]);
    cut.held = 0;
    cut.broken = vec![Broken {
        seq: 3,
        outcome: Outcome::Interrupted,
        cause: None,
        note: None,
    }];
    let rows = [
        row(Plane::Detect, "pidfd-main", &[(Outcome::Right, 3)]),
        cut,
    ];
    let lines = expectations(&rows, 8, "Interrupted");
    assert!(lines.iter().all(|line| !line.failed), "{lines:?}");
    assert_eq!(
        texts(&lines),
        [
            "Interrupted after 3 of 8 trials.",
            "Every expectation held (3 of 3 trials)."
        ]
    );
    assert!(
        detect(&rows)
            .unwrap()
            .starts_with("Detect: 1 of 1 detectors"),
        "no trial, no word"
    );
}

#[test]
fn a_broken_trial_says_nothing_of_its_mechanism() {
    let mut broken = row(
        Plane::Detect,
        "fanotify",
        &[(Outcome::Broken, 1), (Outcome::Right, 2)],
    );
    broken.held = 2;
    broken.broken = vec![Broken {
        seq: 5,
        outcome: Outcome::Broken,
        cause: Some(Cause::OutOfResources),
        note: Some("EMFILE".to_owned()),
    }];
    let rows = [broken];
    let lines = expectations(&rows, 3, "");
    assert_eq!(lines[0].text, "Every expectation held (2 of 2 trials).");
    assert!(
        lines[1].text.starts_with("1 of 3 trials broke") && lines[1].failed,
        "{lines:?}"
    );
    assert_eq!(
        lines[2].text,
        "  1 out-of-resources; first: trial 5, fanotify on setsid: EMFILE"
    );
    assert!(
        detect(&rows)
            .unwrap()
            .starts_with("Detect: 1 of 1 detectors were right")
    );
}
