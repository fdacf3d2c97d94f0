//! The expectation for a scenario and a mechanism. Neither knows the other; only this module knows
//! both.

use harness::detect::AnyDetector;
use harness::expect::{Expectation, KillExpectation, Plane, Scope, Sweep};
use harness::kill::AnyStrategy;
use harness::param::{self, ParamPoint};
use harness::trial::{Beside, Expected};

use crate::cases::Scenario;
use crate::script::Op;
use crate::visibility::Sees;

/// What is expected when `detector` watches `scenario` and, if there is a `strategy`, that kills.
pub fn expected(
    scenario: &dyn Scenario,
    at: &ParamPoint,
    detector: AnyDetector,
    strategy: Option<AnyStrategy>,
) -> Expected {
    let stage = scenario.spec().stage;
    // How long a process lives that has moved into the site, and into no other hierarchy.
    let moved_in = stage.beside == Beside::Joiner;
    let alone_ns = at.get(&Beside::LIFETIME);
    match strategy {
        None => {
            let of_scope = match moved_in && detector.spec().effects.other_hierarchy {
                true => ELSEWHERE.expect(alone_ns),
                false => scenario.expect(at, detector.spec().scope),
            };
            Expected::Detect(detector.expectation(of_scope, stage.owner_removes))
        }
        Some(strategy) if moved_in && strategy.spec().effects.other_hierarchy => {
            Expected::Kill(ELSEWHERE.expect_kill(alone_ns))
        }
        Some(strategy) if strategy.spec().effects.process_in_set && attacks(scenario, at) => {
            Expected::Kill(KillExpectation::NotApplicable(
                "the strategy has a process in the set's cgroup that has the workload's user: the \
                    workload has killed it before",
            ))
        }
        Some(strategy) => Expected::Kill(scenario.expect_kill(at, strategy.spec().reach)),
    }
}

/// Whether no scope tells the end, as with what a daemon outside has started, or with a tree that
/// is stopped for ever. Such a scenario says nothing about the choice between detectors.
pub(crate) fn ends_unseen(scenario: &dyn Scenario) -> bool {
    let at = param::defaults(scenario.spec().axes.iter(), Plane::Detect);
    let told = |scope: &Scope| matches!(scenario.expect(&at, *scope), Expectation::Sound);
    !Scope::ALL.iter().any(told)
}

/// The same for strategies.
pub(crate) fn escapes_all(scenario: &dyn Scenario) -> bool {
    let at = param::defaults(scenario.spec().axes.iter(), Plane::Kill);
    harness::kill::STRATEGIES.iter().all(|strategy| {
        let expected = scenario.expect_kill(&at, strategy.spec().reach);
        matches!(expected, KillExpectation::Survives(_))
    })
}

const ELSEWHERE: Sees = Sees::Part(
    "the mechanism's cgroup is in another hierarchy; the process has moved into the site alone",
);

/// Whether the workload kills what else is in its cgroup. The init of a PID namespace is safe from
/// that: no signal from inside reaches it (pid_namespaces(7)).
fn attacks(scenario: &dyn Scenario, at: &ParamPoint) -> bool {
    scenario
        .script(at, Plane::Kill, 0)
        .is_ok_and(|script| script.ops().any(|op| op == Op::AttackCgroup))
}

/// What is expected when `detector` watches any program and, if there is a `strategy`, that kills
/// it. Nothing is known about the program but that it cannot leave its cgroup, or a PID namespace
/// in which it was born; so about the other scopes nothing is expected.
pub(crate) fn of_program(detector: AnyDetector, strategy: Option<AnyStrategy>) -> Expected {
    const SEES: &str = "whether the mechanism sees all of its processes depends on the program";
    const REACHES: &str = "no expectation: whether it reaches all of its processes depends on the \
        program";
    let holds = |scope| matches!(scope, Scope::Cgroup | Scope::PidNamespace);
    match strategy {
        None => {
            let of_scope = match holds(detector.spec().scope) {
                true => Expectation::SoundIfItEnds,
                false => Expectation::Open(SEES),
            };
            Expected::Detect(detector.expectation(of_scope, false))
        }
        Some(strategy) => {
            let reach = strategy.spec().reach;
            let all = holds(reach.scope) && matches!(reach.sweep, Sweep::Atomic | Sweep::Held);
            Expected::Kill(match all {
                true => KillExpectation::Empties,
                false => KillExpectation::MaySurvive(REACHES),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use harness::{detect, kill};

    use super::*;

    #[test]
    fn what_a_mechanism_does_beside_its_scope_is_a_fact_of_it() {
        let joiner = crate::by_id("late-joiner").unwrap();
        let attacker = crate::by_id("placeholder-attacker").unwrap();
        let at =
            |scenario: &dyn Scenario, plane| param::defaults(scenario.spec().axes.iter(), plane);
        let watcher = detect::by_id("cgroup-events-poll").unwrap();
        let mut beside = Vec::new();
        for detector in detect::DETECTORS {
            let effects = &detector.spec().effects;
            let said = expected(joiner, &at(joiner, Plane::Detect), *detector, None);
            if effects.other_hierarchy {
                beside.push(detector.spec().id);
                assert!(matches!(said, Expected::Detect(e) if e != Expectation::Sound));
            }
        }
        for strategy in kill::STRATEGIES {
            let effects = &strategy.spec().effects;
            let of = |scenario: &dyn Scenario| {
                let at = at(scenario, Plane::Kill);
                match expected(scenario, &at, watcher, Some(*strategy)) {
                    Expected::Kill(expected) => expected,
                    Expected::Detect(_) => panic!("{}: no kill", strategy.spec().id),
                }
            };
            let skipped = matches!(of(attacker), KillExpectation::NotApplicable(_));
            assert_eq!(skipped, effects.process_in_set, "{}", strategy.spec().id);
            if effects.process_in_set {
                beside.push(strategy.spec().id);
            }
            if effects.other_hierarchy {
                beside.push(strategy.spec().id);
                assert!(matches!(of(joiner), KillExpectation::Survives(_)));
            }
        }
        beside.sort_unstable();
        let known = [
            "pdeathsig",
            "v1-event-control",
            "v1-freeze-kill-thaw",
            "v1-release-agent",
            "v1-release-event-control",
        ];
        assert_eq!(beside, known);
    }

    #[test]
    fn of_a_program_only_what_cannot_be_left_is_expected_to_be_seen_and_reached() {
        let detect = |id| of_program(detect::by_id(id).unwrap(), None);
        let sound = Expected::Detect(Expectation::SoundIfItEnds);
        assert_eq!(detect("cgroup-events-poll"), sound);
        assert_eq!(detect("pidns-init"), sound);
        for id in ["waitpid-main", "proc-connector", "subreaper", "pipe-eof"] {
            assert!(
                matches!(detect(id), Expected::Detect(Expectation::Open(_))),
                "{id}"
            );
        }
        assert!(matches!(
            detect("inotify-delete-self"),
            Expected::Detect(Expectation::NotApplicable(_))
        ));
        let watcher = detect::by_id("cgroup-events-poll").unwrap();
        let kill = |id| of_program(watcher, kill::by_id(id));
        assert_eq!(
            kill("cgroup-kill"),
            Expected::Kill(KillExpectation::Empties)
        );
        for id in ["killpg", "procs-once"] {
            assert!(
                matches!(kill(id), Expected::Kill(KillExpectation::MaySurvive(_))),
                "{id}"
            );
        }
    }
}
