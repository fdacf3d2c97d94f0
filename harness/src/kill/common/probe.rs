//! Probes that several strategies share.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;

use crate::error::{SysError, retry_eintr};
use crate::host::{ProbeError, Support};
use crate::sys::fork::worker;
use crate::sys::wait::{Whose, waitid};

pub(in crate::kill) use allgone::host::Host;
pub(in crate::kill) use allgone::host::probe::{file, in_cgroup, lists, pidfd as pidfds};

/// Whether a child can be made with these clone flags: makes one that ends at once.
pub(in crate::kill) fn clone_flags(
    host: &Host,
    flags: u64,
    remedy: &'static str,
) -> Result<Support, ProbeError> {
    let worker = match worker(flags, None, || 0) {
        Ok(worker) => worker,
        Err(errno @ (Errno::EINVAL | Errno::EPERM | Errno::ENOSYS | Errno::ENOSPC)) => {
            return Ok(Support::missing(
                format_args!(
                    "clone3 with flags {flags:#x}: {errno:?} (uid {})",
                    host.euid
                ),
                remedy,
            ));
        }
        Err(errno) => return Err(SysError::plain("clone3", errno).into()),
    };
    // ECHILD: it has reaped itself.
    match retry_eintr(|| {
        waitid(
            Whose::Pidfd(worker.pidfd.as_fd()),
            WaitPidFlag::WEXITED | WaitPidFlag::__WALL,
        )
    }) {
        Ok(_) | Err(Errno::ECHILD) => Ok(Support::Available),
        Err(errno) => Err(SysError::pid("waitid", worker.pid.as_raw(), errno).into()),
    }
}
