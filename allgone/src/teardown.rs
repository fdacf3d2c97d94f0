//! Killing all members of a cgroup, and removing the cgroup: in steps, or in one wait with a
//! deadline.
//!
//! The tree may be of any depth and width, and its members may make more of it meanwhile: it is
//! walked by descriptors and without recursion. Another process may be removing it at the same
//! time; what is gone counts as removed.
//!
//! Processes that are frozen by the v1 freezer are not thawed, and processes that a tracer has
//! stopped are not resumed. Such a process is named, with the reason.

use std::fmt;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::MonoNs;
use crate::cgroup::{Census, Cgroup, CgroupError};
use crate::error::SysError;
use crate::kill::kill_members_once;
use crate::survivors::{self, Survivor};

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The cgroup and everything below it is removed.
    Gone,
    /// These were members, and were sent SIGKILL.
    Killed(Census),
}

/// One pass over `cgroup`: what is empty is removed, what is not is killed. Does not wait.
/// `one_by_one` sends SIGKILL to each member besides the write to `cgroup.kill`, which on many
/// kernels spares a process without its first thread.
///
/// Errors: `EBUSY` it was filled again while it was removed, or the kernel has not released the
/// dead processes yet: try again. `EACCES`, `EPERM`, `EROFS`: this process may not remove it.
pub fn step(cgroup: &Cgroup, one_by_one: bool) -> Result<Progress, CgroupError> {
    let looked = || {
        if !cgroup.events()?.populated {
            let removed = cgroup.try_clone()?.remove_tree();
            return removed.map(|()| Progress::Gone).map_err(|(_, e)| e);
        }
        let census = Census::deep(cgroup)?;
        // Before 5.14 there is no cgroup.kill, and a threaded cgroup refuses it.
        if cgroup.kill().is_err() || one_by_one {
            kill_members_once(cgroup)?;
        }
        Ok(Progress::Killed(census))
    };
    match looked() {
        // By a descriptor: this directory and no other of its name. What could not be read for this
        // reason in a directory below is only gone if this one is.
        Err(e) if is_gone(&e) && cgroup.events().is_err_and(|e| is_gone(&e)) => Ok(Progress::Gone),
        other => other,
    }
}

fn is_gone(e: &CgroupError) -> bool {
    matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV))
}

/// A cgroup that could not be removed in time, or at all.
#[derive(Debug)]
pub struct Left {
    /// The cgroup.
    pub cgroup: Cgroup,
    /// The error of the last attempt.
    pub error: CgroupError,
    /// Its live members, with the reasons; an error if they are not known.
    pub survivors: Result<Vec<Survivor>, CgroupError>,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        match &self.survivors {
            Ok(survivors) => survivors.iter().try_for_each(|s| write!(f, "\n  {s}")),
            Err(e) => write!(f, "\n  what lives there is not known: {e}"),
        }
    }
}

impl std::error::Error for Left {}

/// Kills all members of `cgroup` and removes it, waiting until `deadline` at most. Blocks; children
/// of the caller among the members stay zombies until the caller reaps them, which does not keep
/// the cgroup.
///
/// ```no_run
/// use std::time::Duration;
/// use allgone::{Base, sys::time::now, teardown::tear_down};
///
/// let base = Base::find()?;
/// let job = base.create()?;
/// if let Err(left) = tear_down(job, now() + Duration::from_secs(5)) {
///     eprintln!("{left}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Errors: it still exists, with its live members.
pub fn tear_down(cgroup: Cgroup, deadline: MonoNs) -> Result<(), Box<Left>> {
    let mut one_by_one = false;
    loop {
        let error = match step(&cgroup, one_by_one) {
            Ok(Progress::Gone) => return Ok(()),
            Ok(Progress::Killed(_)) => {
                SysError::path("empty and remove", cgroup.path(), Errno::EBUSY).into()
            }
            Err(e) => e,
        };
        one_by_one = true;
        let hopeless = matches!(
            error.errno(),
            None | Some(Errno::EACCES | Errno::EPERM | Errno::EROFS)
        );
        if hopeless || deadline.has_passed() {
            let survivors = survivors::diagnose(&cgroup);
            return Err(Box::new(Left {
                cgroup,
                error,
                survivors,
            }));
        }
        pause(&cgroup);
    }
}

/// Waits for a change of `cgroup.events`, two milliseconds at most: that event may be late or lost.
fn pause(cgroup: &Cgroup) {
    let events = cgroup.events_file().ok();
    let mut fds: Vec<_> = events
        .iter()
        .map(|events| PollFd::new(events.as_fd(), PollFlags::POLLPRI))
        .collect();
    // An event, a time-out, an interruption and a refusal all mean: look again.
    match poll(&mut fds, PollTimeout::from(2u8)) {
        Ok(_) | Err(_) => {}
    }
}
