//! Trying a mechanism on a cgroup made for the purpose: support is probed, never concluded from a
//! version.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;

use super::{Host, ProbeError, Support};
use crate::base::Refusal;
use crate::cgroup::Cgroup;
use crate::error::{SysError, retry_eintr};
use crate::probe::in_child;
use crate::sys::pidfd;
use crate::sys::spawn::{Plan, spawn};
use crate::sys::wait::{Whose, waitid};

/// What to do where there is no cgroup to use.
const NO_BASE: &str = "a cgroup v2 directory in which this process may make others: run as root, \
    or in a delegated cgroup (`systemd-run --user --scope -p Delegate=yes`)";

/// Reasons why a system call may be hidden although the kernel has it.
pub const SECCOMP: &str = "allow the call in the seccomp policy of the container or service \
    (docker: --security-opt seccomp=unconfined)";

/// What to do where descriptors have run out.
pub const DESCRIPTORS: &str = "too many open files: raise RLIMIT_NOFILE (ulimit -n)";

/// Runs `attempt` on a new cgroup below the base, then kills what is in the cgroup and removes it.
/// An error of the attempt comes before an error of the removal.
pub fn in_cgroup(
    host: &Host,
    attempt: impl FnOnce(&Cgroup) -> Result<Support, ProbeError>,
) -> Result<Support, ProbeError> {
    let Some(base) = &host.base else {
        return Ok(Support::missing(
            "there is no usable cgroup v2 directory",
            NO_BASE,
        ));
    };
    let tried = in_child(base.cgroup(), &base.child_name()?, |cgroup| {
        attempt(cgroup)
            .map(Ok)
            .or_else(|e| Ok::<_, ProbeError>(Err(e)))
    });
    match tried {
        Ok(answer) => answer,
        Err(ProbeError::Cgroup(e)) if refused(e.errno()) => Ok(Support::missing(e, NO_BASE)),
        Err(e) => Err(e),
    }
}

fn refused(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::EACCES | Errno::EPERM | Errno::EROFS))
}

/// Whether a cgroup below the base has a readable `cgroup.events`.
pub fn events(host: &Host) -> Result<Support, ProbeError> {
    in_cgroup(host, |cgroup| {
        cgroup.events()?;
        Ok(Support::Available)
    })
}

/// Whether an own cgroup has file `name` and it may be written.
pub fn file(host: &Host, name: &'static str, remedy: &'static str) -> Result<Support, ProbeError> {
    in_cgroup(host, |cgroup| {
        match cgroup.open_file(name, OFlag::O_WRONLY) {
            Ok(_) => Ok(Support::Available),
            Err(e) if refused(e.errno()) || e.errno() == Some(Errno::ENOENT) => {
                Ok(Support::missing(e, remedy))
            }
            Err(e) => Err(e.into()),
        }
    })
}

/// Whether members of an own cgroup can be listed.
pub fn lists(host: &Host) -> Result<Support, ProbeError> {
    in_cgroup(host, |cgroup| {
        cgroup.procs()?;
        Ok(Support::Available)
    })
}

/// `Ok` is available; the listed answers mean missing, with their remedies; any other answer is an
/// error.
pub fn answer<T>(
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

/// As [`answer`], where the ways in which a kernel says "not here" are not a list.
pub fn tried<T>(
    op: &'static str,
    result: Result<T, Errno>,
    remedy: impl FnOnce(Errno) -> Option<&'static str>,
) -> Result<Support, ProbeError> {
    match result {
        Ok(_) => Ok(Support::Available),
        Err(errno) => match remedy(errno) {
            Some(remedy) => answer(op, Err::<T, _>(errno), &[(errno, remedy)]),
            None => answer(op, Err::<T, _>(errno), &[]),
        },
    }
}

/// Missing, as this refusal says.
pub fn missing(refusal: &Refusal, remedy: &str) -> Support {
    let remedy = match refusal.errno() {
        Some(Errno::EAGAIN) => {
            "a limit is reached: raise RLIMIT_NPROC (ulimit -u) or pids.max of the cgroups above"
        }
        _ => remedy,
    };
    Support::missing(refusal, remedy)
}

/// Whether processes have descriptors here, through which they can be waited for and signalled.
pub fn pidfd() -> Result<Support, ProbeError> {
    let known = [
        (Errno::ENOSYS, "Linux 5.3"),
        (Errno::EPERM, SECCOMP),
        (Errno::EMFILE, DESCRIPTORS),
    ];
    answer("pidfd_open", pidfd::open(nix::unistd::Pid::this()), &known)
}

/// Creates one process in `cgroup` (with further clone flags) that ends at once, because it has to
/// exec a file that is not a program. Returns when it has been reaped.
pub fn passer_by(cgroup: &Cgroup, clone_flags: u64) -> Result<(), Errno> {
    pass_through(cgroup, clone_flags, &[])
}

/// As [`passer_by`]; the process also enters v1 cgroups, given by their open `tasks` files.
pub fn pass_through(
    cgroup: &Cgroup,
    clone_flags: u64,
    tasks: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let no_program = nix::fcntl::open(
        "/proc/self/status",
        OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )?;
    let spawned = spawn(&Plan {
        cgroup: Some(cgroup.as_fd()),
        clone_flags,
        parent_death_signal: Some(Signal::SIGKILL),
        tasks,
        ..Plan::new(no_program.as_fd(), &[])
    })
    .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(nix::libc::EIO)))?;
    let ended = Whose::Pidfd(spawned.pidfd.as_fd());
    retry_eintr(|| waitid(ended, WaitPidFlag::WEXITED | WaitPidFlag::__WALL)).map(|_| ())
}
