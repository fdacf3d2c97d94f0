//! A run that cannot work is refused before anything is started, with an alternative.

use std::time::Duration;

use harness::expect::Plane;
use harness::sys::ledger::SLOTS;
use harness::trial::Stage;

use super::exit::Failure;
use super::request::Request;
use crate::script::{Script, model};

/// Refuses a tree that outlives the detector's deadline, and one that does not fit into its limit
/// on tasks. Returns how long the tree lives if it is watched and ends, otherwise 0.
pub(super) fn check(
    request: &Request,
    label: &str,
    plane: Plane,
    stage: Stage,
    script: &Script,
) -> Result<Duration, Failure> {
    let deadline_ns = u64::try_from(request.deadline.as_nanos()).unwrap_or(u64::MAX);
    // In the model, with virtual time. What forks for ever is not watched until its end.
    let over = || model::play(script, SLOTS).over_at_ns();
    let ends = plane == Plane::Detect && script.ends_by_itself();
    let longest = ends.then(over).flatten().unwrap_or(0);
    if longest >= deadline_ns {
        let seconds = longest / 1_000_000_000 + 2;
        return Err(Failure::usage(format!(
            "{label}: the tree lives for {} ms and the deadline is {} ms, so its end would be \
                missed; --deadline {seconds}s is long enough",
            longest / 1_000_000,
            deadline_ns / 1_000_000,
        )));
    }
    let (tasks, limit) = (script.tasks(), request.limits.tasks);
    // What is hostile may run into the limit.
    if tasks > limit && !stage.hostile {
        return Err(Failure::usage(format!(
            "{label}: the tree has {tasks} tasks and the limit is {limit}, so it could not be \
                started; --tasks {tasks} allows it"
        )));
    }
    Ok(Duration::from_nanos(longest))
}
