//! The expectation for a scenario and a mechanism. Neither knows the other; only this module knows
//! both.

use harness::detect::AnyDetector;
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
