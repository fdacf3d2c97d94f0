//! A run that cannot work is refused before anything is started, with an alternative.

use harness::expect::Plane;

use super::exit::Failure;
use super::request::Request;
use crate::script::{FOREVER, Op, Script};

/// Refuses a tree that outlives the detector's deadline, and one that does not fit into its limit
/// on tasks.
pub(super) fn check(
    request: &Request,
    label: &str,
    plane: Plane,
    script: &Script,
) -> Result<(), Failure> {
    let deadline_ns = u64::try_from(request.deadline.as_nanos()).unwrap_or(u64::MAX);
    let longest = script.ops().filter_map(|op| match op {
        Op::Live { ns } if ns != FOREVER => Some(ns),
        _ => None,
    });
    let longest = longest.max().unwrap_or(0);
    if plane == Plane::Detect && longest >= deadline_ns {
        let seconds = longest / 1_000_000_000 + 2;
        return Err(Failure::usage(format!(
            "{label}: the tree lives for {} ms and the deadline is {} ms, so its end would be \
                missed; --deadline {seconds}s is long enough",
            longest / 1_000_000,
            deadline_ns / 1_000_000,
        )));
    }
    let (tasks, limit) = (script.tasks(), request.limits.tasks);
    if tasks > limit {
        return Err(Failure::usage(format!(
            "{label}: the tree has {tasks} tasks and the limit is {limit}, so it could not be \
                started; --tasks {tasks} allows it"
        )));
    }
    Ok(())
}
