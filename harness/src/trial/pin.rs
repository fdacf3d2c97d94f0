//! Keeping a process on one processor. Source: sched_setaffinity(2).

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::SysError;

/// Lets the calling thread, and every process that it forks from now on, run on processor `cpu`
/// alone.
///
/// Errors: `EINVAL` there is no such processor, it is offline, or a cpuset does not allow it.
pub fn pin(cpu: usize) -> Result<(), SysError> {
    only(cpu)
        .and_then(|set| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|e| SysError::plain("sched_setaffinity", e))
}

/// The set of one processor.
pub(super) fn only(cpu: usize) -> Result<CpuSet, Errno> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_cannot_be_is_refused() {
        assert!(pin(usize::MAX).is_err());
        assert!(only(0).unwrap().is_set(0).unwrap());
    }
}
