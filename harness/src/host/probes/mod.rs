//! One function per feature: try, undo, answer. An unexpected error is an error of the probe, not
//! "missing".

pub(super) mod cgroup;
mod netlink;
pub(super) mod process;
pub(super) mod tracing;

use nix::errno::Errno;

use super::{ProbeError, Refusal, Support};
use crate::error::SysError;

/// Reasons why a system call may be hidden although the kernel has it.
const SECCOMP: &str = "allow the call in the seccomp policy of the container or service (docker: \
    --security-opt seccomp=unconfined)";

/// Missing, as this refusal says.
fn missing(refusal: &Refusal, remedy: &str) -> Support {
    let remedy = match refusal.errno() {
        Some(Errno::EAGAIN) => {
            "a limit is reached: raise RLIMIT_NPROC (ulimit -u) or pids.max of the cgroups above"
        }
        _ => remedy,
    };
    Support::missing(refusal, remedy)
}

/// `Ok` is available; the listed answers mean missing, with their remedies; any other answer is an
/// error.
fn answer<T>(
    op: &'static str,
    result: Result<T, Errno>,
    known: &[(Errno, &str)],
) -> Result<Support, ProbeError> {
    let errno = match result {
        Ok(_) => return Ok(Support::Available),
        Err(errno) => errno,
    };
    match known.iter().find(|(e, _)| *e == errno) {
        Some((_, remedy)) => Ok(Support::missing(SysError::plain(op, errno), remedy)),
        None => Err(SysError::plain(op, errno).into()),
    }
}
