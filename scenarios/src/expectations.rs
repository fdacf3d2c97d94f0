//! The expectation for a scenario and a mechanism. Neither knows the other; only this module knows
//! both.

use harness::detect::AnyDetector;
use harness::expect::{Expectation, KillExpectation, Scope, Sweep};
use harness::kill::AnyStrategy;
use harness::param::ParamPoint;
use harness::trial::Expected;

use crate::cases::Scenario;

/// What is expected when `detector` watches `scenario` and, if there is a `strategy`, that kills.
pub fn expected(
    scenario: &dyn Scenario,
    at: &ParamPoint,
    detector: AnyDetector,
    strategy: Option<AnyStrategy>,
) -> Expected {
    match strategy {
        None => {
            let of_scope = scenario.expect(at, detector.spec().scope);
            Expected::Detect(detector.expectation(of_scope, scenario.spec().stage.owner_removes))
        }
        Some(strategy) => Expected::Kill(scenario.expect_kill(at, strategy.spec().reach)),
    }
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
