//! Where a scenario and a mechanism meet: what is expected of the pair. Neither knows the other; both are known here, and only here.

use harness::detect::Detector;
use harness::kill::KillStrategy;
use harness::param::ParamPoint;
use harness::trial::Expected;

use crate::cases::Scenario;

/// What is expected when `detector` watches `scenario` and, if there is a `strategy`, that kills.
pub fn expected(
    scenario: &dyn Scenario,
    at: &ParamPoint,
    detector: &dyn Detector,
    strategy: Option<&dyn KillStrategy>,
) -> Expected {
    match strategy {
        None => {
            let of_scope = scenario.expect(at, detector.spec().scope);
            Expected::Detect(
                detector
                    .spec()
                    .expectation(of_scope, scenario.spec().stage.owner_removes),
            )
        }
        Some(strategy) => Expected::Kill(scenario.expect_kill(at, strategy.spec().reach)),
    }
}
