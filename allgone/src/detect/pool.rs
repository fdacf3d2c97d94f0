//! Cgroups that are kept populated, so that the end of a workload that enters one is reported at
//! once.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;

use super::DetectError;
use super::sleep::{self, Slept};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::{SysError, Target, retry_eintr};
use crate::sys::pidfd;
use crate::sys::spawn::{Plan, Spawned, spawn};
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid};

/// A process that does nothing but populate a cgroup.
///
/// It waits at a gate before it executes `/dev/null`, which the kernel refuses. So it needs no
/// program, a process with threads may start one, and it ends when its starter does.
#[derive(Debug)]
pub struct Placeholder {
    process: Spawned,
    _gate: OwnedFd,
    since: MonoNs,
    ended: bool,
    starter: u32,
}

impl Placeholder {
    /// Starts one inside `cgroup`. Errors: as clone3(2).
    pub fn put_into(cgroup: &Cgroup) -> Result<Self, SysError> {
        let null = File::open("/dev/null")
            .map_err(|e| SysError::io("open /dev/null", Target::Nothing, &e))?;
        let (held, gate) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?;
        let plan = Plan {
            cgroup: Some(cgroup.as_fd()),
            gate: Some(held.as_fd()),
            ..Plan::new(null.as_fd(), &[])
        };
        let process = spawn(&plan).map_err(|e| {
            SysError::io(
                "start a placeholder in",
                Target::Path(cgroup.path().into()),
                &e,
            )
        })?;
        Ok(Self {
            process,
            _gate: gate,
            since: now(),
            ended: false,
            starter: std::process::id(),
        })
    }

    /// Sleeps until it has populated its cgroup for `warm_up`.
    pub fn wait_warm(&self, warm_up: Duration) {
        let warm = self.since + warm_up;
        match sleep::until(warm, warm) {
            Slept::Woken(_) | Slept::Deadline => {}
        }
    }

    /// Whether it has populated its cgroup for `warm_up`.
    pub fn is_warm(&self, warm_up: Duration) -> bool {
        (self.since + warm_up).has_passed()
    }

    /// Ends it and returns when its end has been seen: from here on only the workload populates the
    /// cgroup.
    pub fn leave(mut self) -> Result<(), SysError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), SysError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let pid = self.process.pid.as_raw();
        match pidfd::send_signal(self.process.pidfd.as_fd(), Some(Signal::SIGKILL)) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => return Err(SysError::pid("end placeholder", pid, e)),
        }
        let mut fds = [PollFd::new(self.process.pidfd.as_fd(), PollFlags::POLLIN)];
        match sleep::on(&mut fds, now() + LEAVE_LIMIT)? {
            Slept::Woken(_) => {}
            Slept::Deadline => {
                return Err(SysError::pid(
                    "see the end of placeholder",
                    pid,
                    Errno::ETIMEDOUT,
                ));
            }
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
        match retry_eintr(|| waitid(Whose::Pidfd(self.process.pidfd.as_fd()), flags)) {
            // ECHILD: the host ignores SIGCHLD, or has reaped it.
            Ok(_) | Err(Errno::ECHILD) => Ok(()),
            Err(e) => Err(SysError::pid("wait for placeholder", pid, e)),
        }
    }
}

/// How long a killed placeholder may take to be gone.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

impl Drop for Placeholder {
    fn drop(&mut self) {
        // In a forked copy of its starter: it is not the copy's to end.
        if self.starter != std::process::id() {
            return;
        }
        // A placeholder that is left keeps its cgroup populated, and the owner of the cgroup gets
        // that error.
        match self.end() {
            Ok(()) | Err(_) => {}
        }
    }
}

/// A cgroup with its placeholder.
#[derive(Debug)]
pub struct Warm {
    /// Where the workload is to be born.
    pub cgroup: Cgroup,
    /// The process that has to leave once it is.
    pub placeholder: Placeholder,
}

/// A number of warm cgroups.
///
/// Nothing happens in the background: the program calls [`Pool::refill`] when it has the time,
/// after a launch. A cgroup that was taken is not returned: its user removes it after one use.
#[derive(Debug)]
pub struct Pool {
    size: usize,
    warm_up: Duration,
    made: u64,
    members: VecDeque<Warm>,
}

impl Pool {
    /// A pool of up to `size` cgroups, each usable after `warm_up` (25 ms is longer than the
    /// kernel's window at every tick rate). It is empty until it is filled.
    pub fn new(size: usize, warm_up: Duration) -> Self {
        Self {
            size,
            warm_up,
            made: 0,
            members: VecDeque::new(),
        }
    }

    /// Puts placeholders into the cgroups that `make` returns, until there are `size` of them;
    /// returns how many were added. Over the life of the pool `make` is called with 0, 1, 2 ...
    /// Those that were made before an error stay.
    pub fn refill(
        &mut self,
        mut make: impl FnMut(u64) -> Result<Cgroup, CgroupError>,
    ) -> Result<usize, DetectError> {
        let mut added = 0;
        while self.members.len() < self.size {
            let cgroup = make(self.made)?;
            self.made += 1;
            match Placeholder::put_into(&cgroup) {
                Ok(placeholder) => self.members.push_back(Warm {
                    cgroup,
                    placeholder,
                }),
                Err(e) => {
                    cgroup.remove_tree().map_err(|(_, e)| e)?;
                    return Err(e.into());
                }
            }
            added += 1;
        }
        Ok(added)
    }

    /// Sleeps until every member is warm.
    pub fn wait_warm(&self) {
        for member in &self.members {
            member.placeholder.wait_warm(self.warm_up);
        }
    }

    /// Takes the oldest cgroup if it is warm. `None`: the caller has to launch without one, and
    /// should report that.
    pub fn take(&mut self) -> Option<Warm> {
        let warm = self.members.front()?.placeholder.is_warm(self.warm_up);
        if warm { self.members.pop_front() } else { None }
    }

    /// Ends all placeholders; returns their cgroups, which the caller removes.
    pub fn drain(mut self) -> Result<Vec<Cgroup>, DetectError> {
        let mut cgroups = Vec::new();
        while let Some(Warm {
            cgroup,
            placeholder,
        }) = self.members.pop_front()
        {
            placeholder.leave()?;
            cgroups.push(cgroup);
        }
        Ok(cgroups)
    }
}
