//! Detectors beyond the expectations of every scenario: none speaks while everything that it can see lives.

use std::time::Duration;

use harness::detect::{self, DETECTORS};
use harness::expect::Expectation;
use harness::param::FOREVER;
use harness::record::Outcome;
use harness::trial::Expected;

use super::common::{Test, ensure, play, spec_at};
use super::needs::{CGROUP2_WRITE, PIDS_LIMIT};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let test = |id: &'static str| {
        let name = format!("detect::says_nothing_while_the_main_process_lives::{id}");
        Test::new(name, &[CGROUP2_WRITE, PIDS_LIMIT, id], move || silent(id))
    };
    DETECTORS.iter().map(|d| test(d.spec().id)).collect()
}

/// The main process is in everybody's scope, and it lives for ever: the deadline is all that may end the wait.
fn silent(id: &'static str) -> Result<(), String> {
    let detector = detect::by_id(id).ok_or("not registered")?;
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let mut spec = spec_at(scenario, detector, None, &[("lifetime", FOREVER)]);
    spec.deadline = Duration::from_millis(100);
    ensure(
        matches!(spec.expected, Expected::Detect(Expectation::NeverFires(_))),
        || format!("{:?}", spec.expected),
    )?;
    let record = play(&spec)?;
    ensure(record.held && record.outcome == Outcome::StillRunning, || {
        format!("{record:?}")
    })
}
