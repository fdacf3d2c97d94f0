//! The state behind every event on a cgroup: `populated`, read again each time.

use nix::poll::{PollFd, PollFlags};

use super::sleep::{self, Slept};
use crate::MonoNs;
use crate::cgroup::{Cgroup, EventsFile};
use crate::detect::{Counters, DetectError, Verdict};
use crate::spawn::Child;
use crate::sys::spawn::Entry;
use crate::sys::time::now;
use std::os::fd::AsFd;
use std::time::Duration;

/// An open `cgroup.events`.
#[derive(Debug)]
pub struct Level {
    /// The file, to sleep on.
    pub events: EventsFile,
}

impl Level {
    /// Opens it.
    pub fn open(cgroup: &Cgroup) -> Result<Self, DetectError> {
        Ok(Self {
            events: cgroup.events_file()?,
        })
    }

    /// Reads the state. `None`: populated, so there is something to wait for.
    pub fn look(&self, woke: MonoNs, counters: &mut Counters) -> Option<Verdict> {
        counters.reads += 1;
        match self.events.read() {
            Ok(events) if events.populated => None,
            Ok(_) => Some(Verdict::empty(woke)),
            Err(e) => Some(Verdict::from_cgroup(&e)),
        }
    }
}

/// How long a workload that could not be born in its cgroup may take to move itself there.
const MOVE_LIMIT: Duration = Duration::from_secs(10);

/// Returns when the workload is in its cgroup. Where it was born there, that is at once; where it
/// moves itself (clone3 refused), the cgroup is empty for a while *before* the workload, and
/// reading it then would be early.
pub fn entered(child: &Child) -> Result<(), DetectError> {
    if matches!(child.entry, Entry::Moved(_)) {
        begun(child)?;
    }
    Ok(())
}

/// Returns when the workload has exec'd, or ended: from then on it is in every cgroup that it was
/// to move itself into.
pub fn begun(child: &Child) -> Result<(), DetectError> {
    let mut fds = [
        PollFd::new(child.exec_signal(), PollFlags::POLLIN),
        PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN),
    ];
    match sleep::on(&mut fds, now() + MOVE_LIMIT)? {
        Slept::Woken(_) => Ok(()),
        Slept::Deadline => Err(nix::errno::Errno::ETIMEDOUT.into()),
    }
}

/// As [`entered`], for a workload that waits at a gate before exec, in a cgroup that another
/// process populates too.
pub fn entered_behind_gate(child: &Child, cgroup: &Cgroup) -> Result<(), DetectError> {
    if !matches!(child.entry, Entry::Moved(_)) {
        return Ok(());
    }
    let deadline = now() + MOVE_LIMIT;
    while !cgroup.procs()?.pids.contains(&child.pid.as_raw()) {
        match sleep::until(now() + Duration::from_micros(200), deadline) {
            Slept::Woken(_) => {}
            Slept::Deadline => return Err(nix::errno::Errno::ETIMEDOUT.into()),
        }
    }
    Ok(())
}
