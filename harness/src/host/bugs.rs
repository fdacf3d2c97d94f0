//! Kernel bugs that change what may be done here, found by trying and not by version.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;

use allgone::probe::{Refusal, Subject};

use super::in_child;
use crate::cgroup::Cgroup;
use crate::error::{SysError, retry_eintr};
use crate::proc;
use crate::sys::actor::without_leader;
use crate::sys::fork::{Worker, worker};
use crate::sys::pidfd;
use crate::sys::spawn::Entry;
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid};

/// A bug that can be tried for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelBug {
    /// Kebab-case.
    pub id: &'static str,
    /// What goes wrong, and the consequence.
    pub summary: &'static str,
    /// Where it is described and fixed.
    pub source: &'static str,
}

/// What a try showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It happens here.
    Present,
    /// It does not.
    Absent,
    /// It cannot happen, because the kernel or a seccomp policy lacks what it needs.
    NotApplicable(&'static str),
}

/// A process that is born by `clone3(CLONE_INTO_CGROUP)` in a cgroup that was written to
/// `cgroup.kill` before is killed at birth.
///
/// The kernel compares the counter of kills of the destination with that of the *source* cgroup
/// (`cgroup_css_set_fork()` in kernel/cgroup/cgroup.c, since b69bb476dee9, v6.14 and backports). So
/// a killed cgroup must not be used again.
pub const KILLED_AT_BIRTH: KernelBug = KernelBug {
    id: "killed-at-birth",
    summary: "clone3 into a cgroup that was killed earlier gives a child that is killed at once: \
        never use a killed cgroup again",
    source: "introduced by b69bb476dee9 (v6.14), fixed by 8e3599202166",
};

/// Tries for [`KILLED_AT_BIRTH`] in a new child of `base`, which is removed again.
pub fn killed_at_birth(base: &Cgroup) -> Result<Presence, Refusal> {
    in_child(base, |child| {
        // The counters of source and destination must differ. If own cgroup was killed once, one
        // kill makes them equal and two do not.
        for _ in 0..2 {
            match child.kill() {
                Err(e) if e.errno() == Some(Errno::ENOENT) => {
                    return Ok(Presence::NotApplicable(
                        "there is no cgroup.kill (before Linux 5.14)",
                    ));
                }
                other => other?,
            }
            let fate = Subject::start(Some(child), 0, false)?.end()?;
            if fate.entry != Entry::Born {
                return Ok(Presence::NotApplicable(
                    "clone3(CLONE_INTO_CGROUP) is refused here",
                ));
            }
            if fate.killed {
                return Ok(Presence::Present);
            }
        }
        Ok(Presence::Absent)
    })
}

/// A process whose first thread has exited while others live on is not killed by a write to
/// `cgroup.kill`.
///
/// `__cgroup_kill()` walks the first threads and signals each with `send_sig()`, which means that
/// thread alone; an exited one takes nothing. A signal to the process (`kill(2)`,
/// `pidfd_send_signal(2)`) ends it.
pub const SPARES_DEAD_LEADERS: KernelBug = KernelBug {
    id: "spares-dead-leaders",
    summary: "cgroup.kill leaves a process alive if its first thread has exited: read populated, \
        and signal the processes that are left one by one",
    source: "kernel/cgroup/cgroup.c: __cgroup_kill(); fixed by \"cgroup: fix cgroup.kill for \
        exited thread group leader\" (in 6.12.117)",
};

/// Tries for [`SPARES_DEAD_LEADERS`] in a new child of `base`, which is removed again. Takes a
/// third of a second where the bug is present.
///
/// Needs a process with one thread (`EDEADLK`).
pub fn spares_dead_leaders(base: &Cgroup) -> Result<Presence, Refusal> {
    in_child(base, |child| {
        let leaderless = worker(0, Some(child.as_fd()), || {
            let failed = without_leader(&mut (), |()| {
                loop {
                    nix::unistd::pause();
                }
            });
            failed as i32
        })
        .map_err(|e| SysError::plain("start a process", e))?;
        let tried = is_spared(child, &leaderless);
        // To the process, not to its first thread: that always works.
        match pidfd::send_signal(leaderless.pidfd.as_fd(), Some(Signal::SIGKILL)) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(SysError::plain("pidfd_send_signal", errno).into()),
        }
        retry_eintr(|| {
            waitid(
                Whose::Pidfd(leaderless.pidfd.as_fd()),
                WaitPidFlag::WEXITED | WaitPidFlag::__WALL,
            )
        })
        .map_err(|e| SysError::pid("waitid", leaderless.pid.as_raw(), e))?;
        tried
    })
}

fn is_spared(cgroup: &Cgroup, leaderless: &Worker) -> Result<Presence, Refusal> {
    let until = now() + Duration::from_secs(5);
    while !proc::stat(leaderless.pid.as_raw())?.is_zombie() {
        if until.has_passed() {
            return Err(SysError::pid(
                "see the first thread exit",
                leaderless.pid.as_raw(),
                Errno::ETIMEDOUT,
            )
            .into());
        }
        retry_eintr(|| poll(&mut [], PollTimeout::from(1u8)))
            .map_err(|e| SysError::plain("poll", e))?;
    }
    match cgroup.kill() {
        Err(e) if e.errno() == Some(Errno::ENOENT) => {
            return Ok(Presence::NotApplicable(
                "there is no cgroup.kill (before Linux 5.14)",
            ));
        }
        other => other?,
    }
    let mut fds = [PollFd::new(leaderless.pidfd.as_fd(), PollFlags::POLLIN)];
    match retry_eintr(|| poll(&mut fds, PollTimeout::from(300u16)))
        .map_err(|e| SysError::plain("poll pidfd", e))?
    {
        0 => Ok(Presence::Present),
        _ => Ok(Presence::Absent),
    }
}
