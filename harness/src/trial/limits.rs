//! The limits around a trial: a pids limit and, where there is a controller, a memory limit.
//!
//! On a machine with the controllers in v2 the limits are on the trial's own cgroup. On a hybrid
//! machine they are in the v1 hierarchies, and the *observer* enters those before it spawns: a
//! member inherits at birth, so nothing migrates between birth and exec, which would hide the gap
//! that is measured ([`V1Dirs::enter`]).

use allgone::limits::{self, Limit, LimitError, V1Dirs};

use super::Limits;
use crate::cgroup::Cgroup;
use crate::host::LimitSource;

/// Tasks that the harness itself may have inside a limit: the observer, a canary, a tiny init, a
/// placeholder.
const HELPERS: u64 = 4;

/// Sets the limits of one trial: on its cgroup where the controllers are v2, else on its
/// directories in the v1 hierarchies.
pub(super) fn apply(
    source: &LimitSource,
    cgroup: &Cgroup,
    v1: Option<&V1Dirs>,
    wanted: Limits,
) -> Result<(), LimitError> {
    if *source == LimitSource::None {
        return Ok(());
    }
    let tasks = Limit::Tasks(wanted.tasks + HELPERS);
    let memory = Limit::MemoryBytes(wanted.memory_bytes);
    for limit in [Some(tasks), source.has_memory().then_some(memory)]
        .into_iter()
        .flatten()
    {
        limits::enforce(source, cgroup.path(), v1, limit)?;
    }
    Ok(())
}
