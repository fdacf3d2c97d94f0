//! Expectations against the model, for every scenario, scope and sweep.

use harness::expect::Sweep;
use harness::param;
use harness::trial::Beside;

use super::*;
use crate::script::Op;
use crate::script::model::{Ending, History, play};
use crate::visibility::CERTAIN_NS;

const TASKS: usize = 64;
const SWEEPS: [Sweep; 4] = [Sweep::Atomic, Sweep::Held, Sweep::UntilNone, Sweep::Once];

fn points(scenario: &dyn Scenario, plane: Plane) -> Vec<ParamPoint> {
    let defaults = param::defaults(scenario.spec().axes, plane);
    let mut points = vec![defaults.clone()];
    for axis in scenario.spec().axes {
        let values: &[u64] = match axis.unit {
            Unit::Nanoseconds => &[0, 1_000_000, CERTAIN_NS, FOREVER],
            Unit::Count => &[1, 2, 20],
        };
        for &value in values {
            let mut point = defaults.clone();
            point.set(axis, value);
            points.push(point);
        }
    }
    points
}

fn model(scenario: &dyn Scenario, at: &ParamPoint, plane: Plane) -> History {
    play(&scenario.script(at, plane, 1).unwrap(), TASKS)
}

#[test]
fn the_registry_is_sorted_and_has_names_as_files_have() {
    let ids: Vec<_> = SCENARIOS.iter().map(|s| s.spec().id).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for scenario in SCENARIOS {
        let spec = scenario.spec();
        assert!(
            spec.id
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            spec.id
        );
        assert!(
            spec.summary.ends_with('.') && !spec.planes.is_empty() && !spec.sources.is_empty(),
            "{}",
            spec.id
        );
        assert!(by_id(spec.id).is_some());
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cases/").to_owned()
            + &spec.id.replace('-', "_")
            + ".rs";
        assert!(std::path::Path::new(&file).is_file(), "{file}");
    }
    assert!(by_id("no-such").is_none());
}

#[test]
fn every_script_is_valid_and_keeps_what_its_spec_says() {
    for scenario in SCENARIOS {
        let spec = scenario.spec();
        for &plane in spec.planes {
            for at in points(*scenario, plane) {
                let script = scenario.script(&at, plane, 1).unwrap();
                assert_eq!(
                    scenario.script(&at, plane, 1).unwrap(),
                    script,
                    "{}: pure",
                    spec.id
                );
                assert_eq!(script.says_ready(), spec.stage.says_ready, "{}", spec.id);
                assert!(
                    spec.stage.delegated || !script.makes_cgroups(),
                    "{}",
                    spec.id
                );
                assert!(
                    spec.stage.hostile || model(*scenario, &at, plane).births() < TASKS,
                    "{}",
                    spec.id
                );
            }
        }
        let at = param::defaults(spec.axes, Plane::Detect);
        let ends = scenario
            .script(&at, Plane::Detect, 1)
            .unwrap()
            .ends_by_itself();
        assert_eq!(
            ends || spec.stage.stops,
            spec.planes.contains(&Plane::Detect),
            "{}: ends without a kill",
            spec.id
        );
        if spec.planes.contains(&Plane::Kill) {
            let at = param::defaults(spec.axes, Plane::Kill);
            assert_eq!(
                model(*scenario, &at, Plane::Kill).ending,
                Ending::Alive,
                "{}: waits to be killed",
                spec.id
            );
        }
    }
}

/// Whether a process outside of the tree has to do with it, so that the model does not know all.
fn has_outsider(scenario: &dyn Scenario) -> bool {
    scenario.spec().stage.beside != Beside::Nobody
}

#[test]
fn what_comes_from_outside_is_asked_for_once() {
    for scenario in SCENARIOS {
        let spec = scenario.spec();
        for &plane in spec.planes {
            let at = param::defaults(spec.axes, plane);
            let script = scenario.script(&at, plane, 1).unwrap();
            let asks = script.ops().filter(|op| *op == Op::Ask).count();
            let waits = has_outsider(*scenario) && spec.stage.beside != Beside::ReusedPid;
            assert_eq!(asks, usize::from(waits), "{}", spec.id);
        }
    }
}

/// What the model lets a detector of `scope` say.
fn agrees(history: &History, scope: Scope, expected: Expectation) -> bool {
    let lost = history
        .emptied(scope)
        .filter(|(_, alive)| *alive > 0)
        .map(|(at, _)| at);
    let certain = lost.is_some_and(|at| {
        history
            .over_at_ns()
            .is_none_or(|over| over - at >= CERTAIN_NS)
    });
    match expected {
        Expectation::Sound => lost.is_none() && history.ending == Ending::Over,
        Expectation::NeverFires(_) => lost.is_none() && history.ending == Ending::Alive,
        // A process that is found by its parent links may have been found in time, however long it
        // lives.
        Expectation::Early(_) => {
            certain && (scope != Scope::LinkedDescendants || history.most_seen(scope) == 1)
        }
        Expectation::MayBeEarly(_) => {
            lost.is_some() && (!certain || scope == Scope::LinkedDescendants)
        }
        Expectation::NotApplicable(_) => history.ending == Ending::Alive,
        Expectation::MayBeLost(_) => {
            lost.is_none() && matches!(scope, Scope::Cgroup | Scope::CgroupAlone)
        }
        // Of programs, which have no model.
        Expectation::Removed(_) | Expectation::SoundIfItEnds | Expectation::Open(_) => false,
    }
}

#[test]
fn what_detectors_ought_to_say_follows_from_the_model() {
    for scenario in SCENARIOS.iter().filter(|s| !has_outsider(**s)) {
        let spec = scenario.spec();
        let detected = spec.planes.contains(&Plane::Detect);
        for at in points(*scenario, Plane::Detect) {
            let history = model(*scenario, &at, Plane::Detect);
            for scope in Scope::ALL {
                let expected = scenario.expect(&at, scope);
                let skipped = matches!(expected, Expectation::NotApplicable(_));
                assert!(
                    detected || skipped,
                    "{}: not played where nothing is killed",
                    spec.id
                );
                assert!(
                    agrees(&history, scope, expected),
                    "{} {at:?} {scope:?}: {expected:?}",
                    spec.id
                );
            }
        }
    }
}

#[test]
fn what_strategies_ought_to_leave_follows_from_the_model() {
    for scenario in SCENARIOS.iter().filter(|s| !has_outsider(**s)) {
        let spec = scenario.spec();
        if !spec.planes.contains(&Plane::Kill) {
            continue;
        }
        for at in points(*scenario, Plane::Kill) {
            let history = model(*scenario, &at, Plane::Kill);
            let ready = history.when_ready().unwrap();
            // What the model does not know: the kernel's own sweep may miss a process without a
            // first thread, and a walk one that moves meanwhile.
            let script = scenario.script(&at, Plane::Kill, 0).unwrap();
            let leaderless = script.ops().any(|op| op == Op::ExitLeader);
            let moves = script.ops().any(|op| matches!(op, Op::Flap { .. }));
            for (scope, sweep) in Scope::ALL
                .into_iter()
                .flat_map(|scope| SWEEPS.map(|sweep| (scope, sweep)))
            {
                let expected = scenario.expect_kill(&at, Reach { scope, sweep });
                // The main process is in every scope, and no other outlives it.
                let whole = ready.seen(scope) == ready.alive() || spec.stage.pid_1;
                let agrees = match expected {
                    KillExpectation::Empties => whole,
                    KillExpectation::Survives(_) => !whole && history.ending == Ending::Alive,
                    KillExpectation::MaySurvive(_) => {
                        spec.stage.hostile
                            || !whole
                            || (leaderless && sweep == Sweep::Atomic)
                            || (moves && matches!(sweep, Sweep::UntilNone | Sweep::Once))
                    }
                    KillExpectation::NotApplicable(_) => false,
                };
                assert!(
                    agrees,
                    "{} {at:?} {scope:?} {sweep:?}: {expected:?}",
                    spec.id
                );
            }
        }
    }
}

#[test]
fn the_cases_that_the_field_knows_by_heart() {
    let at = |id: &str, plane| param::defaults(by_id(id).unwrap().spec().axes, plane);
    let says = |id: &str, scope| by_id(id).unwrap().expect(&at(id, Plane::Detect), scope);
    let leaves = |id: &str, scope, sweep| {
        by_id(id)
            .unwrap()
            .expect_kill(&at(id, Plane::Kill), Reach { scope, sweep })
    };

    assert!(
        matches!(says("setsid", Scope::Main), Expectation::Early(_)),
        "waitpid"
    );
    assert!(
        matches!(says("setsid", Scope::FdHolders), Expectation::Early(_)),
        "an inherited pipe"
    );
    assert_eq!(
        says("setsid", Scope::ReapedDescendants),
        Expectation::Sound,
        "a subreaper"
    );
    assert_eq!(says("setsid", Scope::Cgroup), Expectation::Sound);
    assert_eq!(says("exit-now", Scope::Main), Expectation::Sound);

    assert_eq!(
        leaves("forkbomb", Scope::ProcessGroup, Sweep::Atomic),
        KillExpectation::Empties,
        "killpg"
    );
    assert!(matches!(
        leaves("forkbomb-setsid", Scope::ProcessGroup, Sweep::Atomic),
        KillExpectation::Survives(_)
    ));
    assert!(matches!(
        leaves("setsid", Scope::ProcessGroup, Sweep::Atomic),
        KillExpectation::Survives(_)
    ));
    assert_eq!(
        leaves("forkbomb-setsid", Scope::Cgroup, Sweep::Atomic),
        KillExpectation::Empties,
        "cgroup.kill"
    );
    assert_eq!(
        leaves("forkbomb-setsid", Scope::Cgroup, Sweep::Held),
        KillExpectation::Empties,
        "freeze, then kill"
    );
}
