//! Holding everybody in a cgroup still, so that a walk is a snapshot: the v2 freezer.
//!
//! Freezing is a request. It is done when `cgroup.events` says `frozen 1`: then no member runs, and none is in the middle of a fork.
//! SIGKILL works on frozen processes (unlike in v1), and a cgroup below that was frozen before needs no care.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst "cgroup.freeze"; kernel/cgroup/freezer.c. Linux 5.2.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::levers::Levers;
use crate::MonoNs;
use crate::cgroup::{CgroupError, EventsFile};
use crate::error::{SysError, retry_eintr};
use crate::param::{Axis, Unit};

/// How long to wait for `frozen 1`.
pub(in crate::kill) const FREEZE_WAIT: Axis = Axis {
    name: "freeze-wait",
    unit: Unit::Nanoseconds,
    default: 1_000_000_000,
    kill_default: None,
    doc: "how long a strategy waits for `frozen 1` before it goes on without",
};

/// A cgroup that was asked to freeze. Thawed when dropped, whatever happened in between: a killer that leaves its victims
/// frozen is worse than one that does not kill.
#[derive(Debug)]
pub(in crate::kill) struct Freeze<'c> {
    levers: &'c Levers<'c>,
    thawed: bool,
}

impl<'c> Freeze<'c> {
    /// Asks a cgroup and everything below it to freeze.
    pub(in crate::kill) fn begin(levers: &'c Levers<'c>) -> Result<Self, CgroupError> {
        levers.freeze(true)?;
        Ok(Self { levers, thawed: false })
    }

    /// Waits until all are frozen; false if `deadline` passed before.
    ///
    /// The kernel's notification may itself be held back for 10 to 20 ms (at most one per file in that time), so the state is read again at
    /// least once a millisecond.
    pub(in crate::kill) fn wait(&self, deadline: MonoNs) -> Result<bool, CgroupError> {
        loop {
            if self.levers.events().read()?.frozen {
                return Ok(true);
            }
            if deadline.has_passed() {
                return Ok(false);
            }
            sleep_on_events(self.levers.events(), Duration::from_millis(1))?;
        }
    }

    /// Lets everybody go.
    pub(in crate::kill) fn thaw(mut self) -> Result<(), CgroupError> {
        self.thawed = true;
        self.levers.freeze(false)
    }
}

impl Drop for Freeze<'_> {
    fn drop(&mut self) {
        if !self.thawed {
            // On the way out of an error, which is the one to report.
            match self.levers.freeze(false) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Sleeps until the kernel says that `events` has changed, at most for `most`.
pub(in crate::kill) fn sleep_on_events(events: &EventsFile, most: Duration) -> Result<(), CgroupError> {
    let timeout = PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX);
    retry_eintr(|| poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], timeout))
        .map(|_| ())
        .map_err(|e: Errno| SysError::plain("poll cgroup.events", e).into())
}
