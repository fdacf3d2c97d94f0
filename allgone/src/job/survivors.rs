//! The processes that survived a kill.

use crate::cgroup::{Census, Cgroup, CgroupError};
use crate::proc;

/// A process that is alive in the cgroup of its job although it was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Its process id; 0 if this PID namespace has none for it.
    pub pid: i32,
    /// Its command name; empty if it cannot be read.
    pub comm: String,
}

pub(super) fn diagnose(cgroup: &Cgroup) -> Result<Vec<Survivor>, CgroupError> {
    let census = Census::deep(cgroup)?;
    let foreign = (census.foreign > 0).then_some(0);
    let named = census.pids.into_iter().chain(foreign).map(|pid| Survivor {
        pid,
        comm: proc::stat(pid).map(|stat| stat.comm).unwrap_or_default(),
    });
    Ok(named.collect())
}
