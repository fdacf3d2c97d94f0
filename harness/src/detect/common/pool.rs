//! Cgroups that are kept populated, ready to take a workload whose end will be told at once.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;

use super::sleep::{self, Slept};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::detect::DetectError;
use crate::error::SysError;
use crate::sys::alarm::Alarm;
use crate::sys::fork::{self, Worker};
use crate::sys::pidfd;
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid};

/// A process that does nothing but populate a cgroup.
#[derive(Debug)]
pub struct Placeholder {
    worker: Worker,
    since: MonoNs,
    ended: bool,
}

impl Placeholder {
    /// Starts one inside `cgroup`. Errors: as clone3(2); `EDEADLK` in a process with several threads.
    pub fn put_into(cgroup: &Cgroup) -> Result<Self, SysError> {
        let worker = fork::worker(0, Some(cgroup.as_fd()), || {
            loop {
                nix::unistd::pause();
            }
        })
        .map_err(|e| SysError::path("start a placeholder in", cgroup.path(), e))?;
        Ok(Self {
            worker,
            since: now(),
            ended: false,
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

    /// Ends it and returns when its end has been seen: from here on only the workload populates the cgroup.
    pub fn leave(mut self) -> Result<(), SysError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), SysError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let pid = self.worker.pid;
        pidfd::send_signal(self.worker.pidfd.as_fd(), Some(Signal::SIGKILL))
            .map_err(|e| SysError::pid("end placeholder", pid.as_raw(), e))?;
        let _alarm = Alarm::at(now() + LEAVE_LIMIT).map_err(|e| SysError::plain("timer_create", e))?;
        match waitid(Whose::Pidfd(self.worker.pidfd.as_fd()), WaitPidFlag::WEXITED) {
            Ok(_) => Ok(()),
            Err(e) => Err(SysError::pid("wait for placeholder", pid.as_raw(), e)),
        }
    }
}

/// How long a killed placeholder may take to be gone.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

impl Drop for Placeholder {
    fn drop(&mut self) {
        match self.end() {
            Ok(()) => {}
            // Whoever owns the cgroup will find it populated.
            Err(e) => tracing::warn!(%e, "a placeholder may be left"),
        }
    }
}

/// A cgroup with its placeholder.
#[derive(Debug)]
pub struct Warm {
    /// Where the workload is to be born.
    pub cgroup: Cgroup,
    /// Who has to leave once it is.
    pub placeholder: Placeholder,
}

/// A number of warm cgroups.
///
/// Nothing happens in the background: [`Pool::refill`] is called by whoever has the time, after a launch. A cgroup that was taken is not
/// returned; it is used once and then removed by its taker.
#[derive(Debug)]
pub struct Pool {
    size: usize,
    warm_up: Duration,
    made: u64,
    members: VecDeque<Warm>,
}

impl Pool {
    /// A pool of up to `size` cgroups, each usable after `warm_up` (25 ms is longer than the kernel's window at every tick rate). It is
    /// empty until it is filled.
    pub fn new(size: usize, warm_up: Duration) -> Self {
        Self {
            size,
            warm_up,
            made: 0,
            members: VecDeque::new(),
        }
    }

    /// Puts placeholders into what `make` gives, called with 0, 1, 2 ... over the life of the pool, until there are `size` members; returns
    /// how many were added. What was made before an error stays.
    pub fn refill(&mut self, mut make: impl FnMut(u64) -> Result<Cgroup, CgroupError>) -> Result<usize, DetectError> {
        let mut added = 0;
        while self.members.len() < self.size {
            let cgroup = make(self.made)?;
            self.made += 1;
            match Placeholder::put_into(&cgroup) {
                Ok(placeholder) => self.members.push_back(Warm { cgroup, placeholder }),
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

    /// Takes the oldest cgroup if it is warm. `None`: the caller launches without, and says so.
    pub fn take(&mut self) -> Option<Warm> {
        let warm = self.members.front()?.placeholder.is_warm(self.warm_up);
        if warm { self.members.pop_front() } else { None }
    }

    /// Ends all placeholders; returns their cgroups, to be removed by whoever made them.
    pub fn drain(mut self) -> Result<Vec<Cgroup>, DetectError> {
        let mut cgroups = Vec::new();
        while let Some(Warm { cgroup, placeholder }) = self.members.pop_front() {
            placeholder.leave()?;
            cgroups.push(cgroup);
        }
        Ok(cgroups)
    }
}

/// Removes a cgroup whose last process has been reaped. Since Linux 6.19 that process may still be on its way out.
pub(crate) fn remove_when_empty(mut cgroup: Cgroup) -> Result<(), DetectError> {
    let deadline = now() + LEAVE_LIMIT;
    loop {
        match cgroup.remove_tree() {
            Ok(()) => return Ok(()),
            Err((back, e)) if e.errno() == Some(nix::errno::Errno::EBUSY) && !deadline.has_passed() => cgroup = back,
            Err((_, e)) => return Err(e.into()),
        }
        match sleep::until(now() + Duration::from_micros(100), deadline) {
            Slept::Woken(_) | Slept::Deadline => {}
        }
    }
}
