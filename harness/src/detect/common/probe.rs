//! Trying a mechanism on a cgroup made for the purpose: support is probed, never concluded from a version.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;

use crate::cgroup::Cgroup;
use crate::detect::DetectError;
use crate::host::{Host, ProbeError, Support, in_child};
use crate::sys::spawn::{Plan, spawn};
use crate::sys::wait::{Whose, waitid};

/// Runs `attempt` on a fresh cgroup below the base and removes that again.
pub(crate) fn in_cgroup(
    host: &Host,
    attempt: impl FnOnce(&Cgroup) -> Result<Support, ProbeError>,
) -> Result<Support, ProbeError> {
    let Some(base) = &host.base else {
        return Ok(Support::missing(
            "there is no cgroup v2 directory that may be used",
            "see what `scenario doctor` says about the base",
        ));
    };
    in_child(&base.cgroup, attempt)
}

/// Whether a cgroup below the base has a readable `cgroup.events`.
pub(crate) fn events(host: &Host) -> Result<Support, ProbeError> {
    in_cgroup(host, |site| {
        site.events()?;
        Ok(Support::Available)
    })
}

/// Support from the result of trying, where the ways in which a kernel says "not here" are known.
pub(crate) fn tried<T>(
    op: &str,
    result: Result<T, Errno>,
    remedy: impl FnOnce(Errno) -> Option<&'static str>,
) -> Result<Support, ProbeError> {
    match result {
        Ok(_) => Ok(Support::Available),
        Err(errno) => match remedy(errno) {
            Some(remedy) => Ok(Support::missing(format!("{op}: {errno}"), remedy)),
            None => Err(crate::SysError::plain("probe", errno).into()),
        },
    }
}

/// As [`tried`] for something that fails with a [`DetectError`]; limits are reported as missing with their remedy.
pub(crate) fn armed<T>(result: Result<T, DetectError>) -> Result<Support, ProbeError> {
    match result {
        Ok(_) => Ok(Support::Available),
        Err(DetectError::Limit {
            limit, errno, remedy, ..
        }) => Ok(Support::missing(format_args!("{limit} is exhausted ({errno})"), remedy)),
        Err(DetectError::Sys(e)) => Err(e.into()),
        Err(DetectError::Cgroup(e)) => Err(e.into()),
    }
}

/// Whether processes have descriptors here.
pub(crate) fn pidfd() -> Result<Support, ProbeError> {
    tried(
        "pidfd_open",
        crate::sys::pidfd::open(nix::unistd::Pid::this()),
        |errno| match errno {
            Errno::ENOSYS => Some("Linux 5.3 or later"),
            Errno::EPERM => Some("a seccomp policy that allows pidfd_open"),
            _ => None,
        },
    )
}

/// Lets one process be born in `cgroup` (with further clone flags) and end at once: it is told to exec what is no program. Returns when
/// it has been reaped.
pub(crate) fn passer_by(cgroup: &Cgroup, clone_flags: u64) -> Result<(), Errno> {
    pass_through(cgroup, clone_flags, &[])
}

/// As [`passer_by`], through v1 cgroups too, whose `tasks` are given.
pub(in crate::detect) fn pass_through(
    cgroup: &Cgroup,
    clone_flags: u64,
    tasks: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let no_program = nix::fcntl::open(
        "/proc/self/status",
        nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )?;
    let spawned = spawn(&Plan {
        cgroup: Some(cgroup.as_fd()),
        clone_flags,
        parent_death_signal: Some(Signal::SIGKILL),
        tasks,
        ..Plan::new(no_program.as_fd(), &[])
    })
    .map_err(|e| super::limit::errno_of(&e))?;
    let ended = Whose::Pidfd(spawned.pidfd.as_fd());
    crate::error::retry_eintr(|| waitid(ended, WaitPidFlag::WEXITED | WaitPidFlag::__WALL)).map(|_| ())
}

/// Whether /proc shows the processes of this PID namespace, other users' included.
pub(crate) fn proc_is_ours() -> Result<Support, ProbeError> {
    if let Some(why) = crate::host::foreign_proc()? {
        return Ok(Support::missing(
            format_args!("/proc belongs to another PID namespace: {why}"),
            "a /proc of this PID namespace",
        ));
    }
    let me = nix::unistd::Pid::this().as_raw();
    match super::proc_stat::read(me)? {
        Some(_) if std::path::Path::new("/proc/1/stat").exists() => Ok(Support::Available),
        Some(_) => Ok(Support::missing(
            "/proc hides the processes of others",
            "a /proc without hidepid, or membership in its gid= group",
        )),
        None => Ok(Support::missing(
            "/proc does not show this process",
            "a /proc of this PID namespace",
        )),
    }
}
