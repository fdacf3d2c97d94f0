//! Probes that several strategies share. They try the thing on an own, empty cgroup.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::WaitPidFlag;

use crate::cgroup::{Cgroup, CgroupError};
use crate::error::{SysError, retry_eintr};
use crate::host::{Host, ProbeError, Support, in_child};
use crate::sys::fork::worker;
use crate::sys::pidfd;
use crate::sys::wait::{Whose, waitid};

/// What to do where there is no cgroup to use.
const NO_BASE: &str =
    "run as root, or under `systemd-run --user --scope -p Delegate=yes`, or name a cgroup with --cgroup";

/// Makes a cgroup, asks `question` about it, removes it.
pub(in crate::kill) fn in_own_cgroup(
    host: &Host,
    question: impl FnOnce(&Cgroup) -> Result<Support, CgroupError>,
) -> Result<Support, ProbeError> {
    let Some(base) = &host.base else {
        return Ok(Support::missing(
            "no cgroup v2 directory in which to make cgroups",
            NO_BASE,
        ));
    };
    let may_not = |e: &CgroupError| matches!(e.errno(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS));
    let mut made = false;
    let answer = in_child(&base.cgroup, |cgroup| {
        made = true;
        question(cgroup)
    });
    match answer {
        Err(e) if !made && may_not(&e) => Ok(Support::missing(e, NO_BASE)),
        other => Ok(other?),
    }
}

/// Whether an own cgroup has file `name` and it may be written.
pub(in crate::kill) fn file(host: &Host, name: &'static str, remedy: &'static str) -> Result<Support, ProbeError> {
    in_own_cgroup(host, |cgroup| match cgroup.open_file(name, OFlag::O_WRONLY) {
        Ok(_) => Ok(Support::Available),
        Err(e)
            if matches!(
                e.errno(),
                Some(Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EROFS)
            ) =>
        {
            Ok(Support::missing(e, remedy))
        }
        Err(e) => Err(e),
    })
}

/// Whether members of an own cgroup can be listed.
pub(in crate::kill) fn lists(host: &Host) -> Result<Support, ProbeError> {
    in_own_cgroup(host, |cgroup| cgroup.procs().map(|_| Support::Available))
}

/// Whether processes can be signalled through descriptors.
pub(in crate::kill) fn pidfds() -> Result<Support, ProbeError> {
    match pidfd::open(nix::unistd::Pid::this()) {
        Ok(_) => Ok(Support::Available),
        Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => Ok(Support::missing(
            format_args!("pidfd_open: {errno:?}"),
            "Linux 5.3 or later, without a seccomp policy that hides it",
        )),
        Err(errno) => Err(SysError::plain("pidfd_open", errno).into()),
    }
}

/// Whether a child can be made with these clone flags: makes one that ends at once.
pub(in crate::kill) fn clone_flags(host: &Host, flags: u64, remedy: &'static str) -> Result<Support, ProbeError> {
    let worker = match worker(flags, None, || 0) {
        Ok(worker) => worker,
        Err(errno @ (Errno::EINVAL | Errno::EPERM | Errno::ENOSYS | Errno::ENOSPC)) => {
            return Ok(Support::missing(
                format_args!("clone3 with flags {flags:#x}: {errno:?} (uid {})", host.euid),
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
