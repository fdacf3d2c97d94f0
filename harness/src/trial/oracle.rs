//! The oracle: the truth, established by other means than the detector's.
//!
//! Truth is an interval. Lower bound: the last exit stamp of the ledger (or, after a kill, the
//! stamp before the first signal). Upper bound: the oracle's first level read that says
//! "unpopulated". While nothing is killed the oracle reads only *after* the verdict, so that it
//! does not disturb the wake-up that is measured. During a kill it reads every 200 µs.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::Site;
use crate::MonoNs;
use crate::cgroup::{CgroupError, Members};
use crate::error::SysError;
use crate::proc;
use crate::sys::{pidfd, time};

/// How often the oracle reads during a kill: the resolution of `unpopulated_ns`.
pub(super) const KILL_TICK: Duration = Duration::from_micros(200);
/// How often it reads after the verdict, until an undisturbed tree has ended.
pub(super) const SETTLE_TICK: Duration = Duration::from_millis(1);

/// The state of a site at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Something lives.
    Populated,
    /// Nothing lives.
    Unpopulated,
    /// The cgroup has been removed, so it was empty then.
    Removed,
}

/// Reads the state of the site's cgroup.
///
/// The file is opened and closed each time: an open `cgroup.events` would keep the kernel from
/// reporting its removal (7.1 and later).
pub(super) fn look(site: &Site) -> Result<State, CgroupError> {
    let state = match site.cgroup.events() {
        Ok(events) if events.populated => return Ok(State::Populated),
        Ok(_) => State::Unpopulated,
        Err(e) if matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => State::Removed,
        Err(e) => return Err(e),
    };
    match outside(site)?.is_empty() {
        true => Ok(state),
        false => Ok(State::Populated),
    }
}

/// Processes of the ledger that live outside of the site, where that can be: among the helpers of
/// the trial.
pub(super) fn outside(site: &Site) -> Result<Vec<i32>, CgroupError> {
    if !site.outside {
        return Ok(Vec::new());
    }
    let mut pids = site.control.procs()?.pids;
    let lives = |pid| {
        site.ledger
            .entries()
            .any(|e| e.pid == pid && e.exit.is_none())
    };
    pids.retain(|pid| lives(*pid));
    Ok(pids)
}

/// Looks for an actor that is alive now although the detector has just said "empty": a row of the
/// ledger without an exit stamp whose process is in the site's cgroup. `Ok(None)` proves nothing (a
/// process in another PID namespace cannot be found by number).
pub(super) fn witness(site: &Site) -> Result<Option<i32>, SysError> {
    for entry in site.ledger.entries().filter(|e| e.exit.is_none()) {
        let Ok(fd) = pidfd::open(nix::unistd::Pid::from_raw(entry.pid)) else {
            continue;
        };
        let alive = pidfd::has_exited(std::os::fd::AsFd::as_fd(&fd)) == Ok(false);
        // The exit stamp may have been written in between; only a process that still has none is a
        // witness.
        let unstamped = site
            .ledger
            .entries()
            .any(|e| e.pid == entry.pid && e.exit.is_none());
        if alive && unstamped && is_member(site, entry.pid) {
            return Ok(Some(entry.pid));
        }
    }
    Ok(None)
}

/// Processes of the ledger that have ended without a stamp: each was ended by something else than
/// its script. Only of use before anything is killed, and where the ledger's numbers are those of
/// this PID namespace. A number that has been reused hides its first owner.
pub(super) fn ended(site: &Site) -> Result<Vec<i32>, SysError> {
    let mut ended = Vec::new();
    for entry in site.ledger.entries().filter(|e| e.exit.is_none()) {
        let over = match pidfd::open(nix::unistd::Pid::from_raw(entry.pid)) {
            Ok(fd) => pidfd::has_exited(std::os::fd::AsFd::as_fd(&fd))
                .map_err(|e| SysError::pid("poll pidfd", entry.pid, e))?,
            Err(Errno::ESRCH) => true,
            Err(errno) => return Err(SysError::pid("pidfd_open", entry.pid, errno)),
        };
        // It stamps before it ends, so a stamp that is still missing now will never come.
        if over
            && site
                .ledger
                .entries()
                .any(|e| e.pid == entry.pid && e.born == entry.born && e.exit.is_none())
        {
            ended.push(entry.pid);
        }
    }
    Ok(ended)
}

/// Processes of the tree, and those that observer and mechanism are, that are stopped by job
/// control now. Only of use where nothing of the trial stops anything: before a kill. A tracer's
/// stop is another state. A process that has disappeared is not stopped.
pub(super) fn stopped(site: &Site) -> Result<Vec<i32>, CgroupError> {
    let mut pids = match site.cgroup.procs_recursive() {
        Ok(members) => members.pids,
        Err(e) if matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Vec::new(),
        Err(e) => return Err(e),
    };
    pids.extend(site.control.procs()?.pids);
    pids.retain(|pid| proc::stat(*pid).is_ok_and(|stat| stat.state == 'T'));
    Ok(pids)
}

fn is_member(site: &Site, pid: i32) -> bool {
    matches!(site.cgroup.procs_recursive(), Ok(Members { pids, .. }) if pids.contains(&pid))
        || outside(site).is_ok_and(|pids| pids.contains(&pid))
}

/// The search for proof that a process will survive although the strategy has said "issued".
///
/// For a running process, the absence of a pending SIGKILL proves nothing: it may have taken the
/// signal and be exiting, which takes long on a busy or emulated machine. Two things are proof. The
/// first is a process that *sleeps*, is not exiting and has no SIGKILL pending: one that has taken
/// the signal does not sleep again before it is marked as exiting (`do_exit()`, kernel/exit.c). The
/// second is a ledger that still grows: a process that has been killed does not return to user
/// space to write there.
#[derive(Debug, Default)]
pub(super) struct SurvivalProof {
    written: Option<u32>,
}

impl SurvivalProof {
    /// Checks once; false proves nothing. A later call compares the ledger with the first one.
    pub(super) fn is_proved(&mut self, site: &Site) -> Result<bool, CgroupError> {
        let sums = site.ledger.sums();
        let written = sums.births.wrapping_add(sums.refused);
        if *self.written.get_or_insert(written) != written {
            return Ok(true);
        }
        let mut pids = site.cgroup.procs_recursive()?.pids;
        pids.extend(outside(site)?);
        Ok(pids.into_iter().any(sleeps_on))
    }
}

/// Whether a thread of the process sleeps or is stopped, unkilled; the first one may have ended.
fn sleeps_on(pid: i32) -> bool {
    proc::threads(pid).is_ok_and(|threads| threads.iter().any(|thread| is_spared(thread.pid)))
}

/// The signals are read before the state: see [`SurvivalProof`]. A thread has its own directory in
/// `/proc`, which no list shows.
fn is_spared(tid: i32) -> bool {
    let (Ok(status), Ok(stat)) = (proc::status(tid), proc::stat(tid)) else {
        return false;
    };
    !status.has_pending(Signal::SIGKILL) && matches!(stat.state, 'S' | 'T') && !stat.is_exiting()
}

/// Until when the oracle waits for the end of an undisturbed tree.
pub(super) fn settle_deadline(deadline: Duration) -> MonoNs {
    time::now() + deadline
}
