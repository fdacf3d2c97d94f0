//! The oracle: what was true, found out by other means than the detector's.
//!
//! Truth is an interval. Lower bound: the last exit stamp of the ledger (or, after a kill, the stamp before the first signal). Upper bound: the
//! oracle's first level read that says "unpopulated". While nothing is killed the oracle looks only *after* the verdict, so that it does
//! not disturb the wake-up that is measured; during a kill it looks every 200 µs.

use std::time::Duration;

use nix::errno::Errno;

use super::Site;
use crate::MonoNs;
use crate::cgroup::{CgroupError, Members};
use crate::error::SysError;
use crate::sys::{pidfd, time};

/// How often the oracle looks while a kill is going on: the resolution of `unpopulated_ns`.
pub(super) const KILL_TICK: Duration = Duration::from_micros(200);
/// How often it looks for the end of an undisturbed tree, after the verdict.
pub(super) const SETTLE_TICK: Duration = Duration::from_millis(1);

/// The state of a site at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Something lives.
    Populated,
    /// Nothing lives.
    Unpopulated,
    /// The cgroup is gone, so nothing lived when it went.
    Removed,
}

/// Reads the state of the site's cgroup.
///
/// The file is opened and closed each time: an open `cgroup.events` would keep the kernel from reporting its removal (7.1 and later).
pub(super) fn look(site: &Site) -> Result<State, CgroupError> {
    match site.cgroup.events() {
        Ok(events) if events.populated => Ok(State::Populated),
        Ok(_) => Ok(State::Unpopulated),
        Err(e) if matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Ok(State::Removed),
        Err(e) => Err(e),
    }
}

/// Looks for an actor that is alive now although the detector has just said "empty": a row of the ledger without an exit stamp whose process
/// is in the site's cgroup. `Ok(None)` proves nothing (a process in another PID namespace cannot be found by number).
pub(super) fn witness(site: &Site) -> Result<Option<i32>, SysError> {
    for entry in site.ledger.entries().filter(|e| e.exit.is_none()) {
        let Ok(fd) = pidfd::open(nix::unistd::Pid::from_raw(entry.pid)) else {
            continue;
        };
        let alive = pidfd::has_exited(std::os::fd::AsFd::as_fd(&fd)) == Ok(false);
        // The exit stamp may have been written between the two looks; only a process that still has none is a witness.
        let unstamped = site.ledger.entries().any(|e| e.pid == entry.pid && e.exit.is_none());
        if alive && unstamped && is_member(site, entry.pid) {
            return Ok(Some(entry.pid));
        }
    }
    Ok(None)
}

fn is_member(site: &Site, pid: i32) -> bool {
    matches!(site.cgroup.procs_recursive(), Ok(Members { pids, .. }) if pids.contains(&pid))
}

/// Whether some member will live on for certain: it is alive, and no SIGKILL is pending for it although the strategy has said "issued".
///
/// A process that is being killed has the signal pending until it is gone (proc_pid_status(5), `SigPnd`, `ShdPnd`), so this cannot be
/// mistaken for a slow death. False proves nothing.
pub(super) fn someone_lives_on(site: &Site) -> Result<bool, CgroupError> {
    let members = site.cgroup.procs_recursive()?;
    Ok(members.pids.iter().any(|pid| lives_on(*pid)))
}

fn lives_on(pid: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    !spared_by_kill(&status).unwrap_or(true)
}

/// From the text of `/proc/<pid>/status`: whether a SIGKILL is pending or the process is dead already. `None`: not understood.
fn spared_by_kill(status: &str) -> Option<bool> {
    const SIGKILL_BIT: u64 = 1 << 8;
    // The name may contain anything but a line break is escaped by the kernel, so lines can be trusted.
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let pending = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    let state = field("State:")?.chars().next()?;
    let killed = (pending("SigPnd:")? | pending("ShdPnd:")?) & SIGKILL_BIT != 0;
    Some(killed || matches!(state, 'Z' | 'X' | 'x'))
}

/// Until when the oracle waits for the end of an undisturbed tree.
pub(super) fn settle_deadline(deadline: Duration) -> MonoNs {
    time::now() + deadline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_sigkill_is_seen() {
        let alive = "Name:\tx\nState:\tS (sleeping)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n";
        assert_eq!(spared_by_kill(alive), Some(false));
        assert_eq!(
            spared_by_kill(&alive.replace("ShdPnd:\t0000000000000000", "ShdPnd:\t0000000000000100")),
            Some(true)
        );
        assert_eq!(spared_by_kill(&alive.replace("S (sleeping)", "Z (zombie)")), Some(true));
        assert_eq!(spared_by_kill("Name:\tx\n"), None);
    }
}
