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
        None => Expected::Detect(scenario.expect(at, detector.spec().scope)),
        Some(strategy) => Expected::Kill(scenario.expect_kill(at, strategy.spec().reach)),
    }
}
