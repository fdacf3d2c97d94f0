//! What outlived a kill, and why.
//!
//! A survivor is a live process that is still in a cgroup or below when the caller's patience is
//! over. Each gets the most likely reason from an ordered list of checks, with the evidence. A
//! zombie is never a survivor: it is dead, and waits for its parent; see [`unreaped`].
//!
//! Nothing here kills, thaws or resumes a process.

mod case;
mod frozen;
mod reason;
mod state;
mod throttled;

use std::fmt;

use nix::errno::Errno;

use crate::cgroup::{Census, Cgroup, CgroupError};
use crate::error::SysError;
use crate::proc::{self, Mounts};

pub use reason::Reason;

use case::{Case, Finding};

/// The checks, the most telling first. The last one always has an answer.
const CHECKS: [fn(&Case<'_>) -> Option<Finding>; 10] = [
    state::kernel_thread,
    frozen::by_v1,
    state::uninterruptible,
    state::exiting,
    frozen::by_v2,
    state::traced,
    state::stopped,
    throttled::by_quota,
    state::dead_leader,
    state::threaded,
];

/// A process that is alive although it should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Process id; 0 if it has none in this PID namespace, or cannot be seen any more.
    pub pid: i32,
    /// Its command name, without control characters.
    pub comm: String,
    /// State letter of `/proc/<pid>/stat`; `?` if it is not known.
    pub state: char,
    /// Its cgroup v2 path, as `/proc/<pid>/cgroup` says.
    pub cgroup: String,
    /// The most likely reason why it lives.
    pub reason: Reason,
    /// What that is concluded from.
    pub evidence: String,
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid,
            comm,
            reason,
            evidence,
            ..
        } = self;
        write!(f, "{pid} ({comm}): {reason}; {evidence}")
    }
}

/// Names every process that is still alive in `cgroup` and below, with the most likely reason.
///
/// ```no_run
/// use allgone::{cgroup::Cgroup, survivors};
///
/// let job = Cgroup::open("/sys/fs/cgroup/my.service/job-1")?;
/// for survivor in survivors::diagnose(&job)? {
///     println!("{survivor}");
/// }
/// # Ok::<(), allgone::cgroup::CgroupError>(())
/// ```
///
/// An empty answer means that there is none. A cgroup that is populated by processes that cannot be
/// named (hidden because they are exiting, or in a foreign PID namespace) yields one entry with pid
/// 0: unknown is never empty. Takes up to a quarter of a second if the CPU time of a process is
/// limited: throttling is seen by reading twice.
pub fn diagnose(cgroup: &Cgroup) -> Result<Vec<Survivor>, CgroupError> {
    let census = match Census::deep(cgroup) {
        Ok(census) => census,
        // Removed, so it has no members.
        Err(e) if matches!(e.errno(), Some(Errno::ENODEV | Errno::ENOENT)) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mounts = Mounts::read()?;
    let mut survivors = Vec::new();
    for pid in &census.pids {
        match Case::of(*pid, &mounts) {
            Ok(Some(case)) => survivors.push(name(&case)),
            Ok(None) => {}
            Err(e) if proc::vanished(&e) => {}
            Err(e) => return Err(e.into()),
        }
    }
    if census.foreign > 0 {
        survivors.push(unnamed(
            cgroup,
            Reason::Unnameable,
            format!("cgroup.procs lists {} members as 0", census.foreign),
        ));
    }
    if survivors.is_empty() && cgroup.events()?.populated {
        survivors.push(unnamed(
            cgroup,
            Reason::Exiting,
            "populated 1, and no live process is listed in cgroup.procs".to_owned(),
        ));
    }
    Ok(survivors)
}

/// A dead process that has not been reaped. It holds a pid, and counts as a task of the pids limit;
/// nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreaped {
    /// Its process id.
    pub pid: i32,
    /// Its command name.
    pub comm: String,
    /// Who has to reap it.
    pub parent: i32,
    /// The parent's command name; empty if it cannot be read.
    pub parent_comm: String,
}

/// Dead members of the cgroup and below that have not been reaped. Scans all of `/proc`.
pub fn unreaped(cgroup: &Cgroup) -> Result<Vec<Unreaped>, CgroupError> {
    let mounts = Mounts::read()?;
    let top = mounts
        .v2_path_of(cgroup.path())
        .ok_or_else(|| SysError::path("find the cgroup2 mount of", cgroup.path(), Errno::ENOENT))?;
    let mut found = Vec::new();
    for stat in proc::everybody()?.into_iter().filter(proc::Stat::is_zombie) {
        let inside = proc::membership(stat.pid)
            .is_ok_and(|m| m.v2().is_some_and(|path| proc::within(path, &top)));
        // A leader with live threads is not a dead process.
        if inside && !stat.is_alive() {
            found.push(Unreaped {
                pid: stat.pid,
                parent_comm: proc::stat(stat.ppid)
                    .map(|parent| parent.comm)
                    .unwrap_or_default(),
                parent: stat.ppid,
                comm: stat.comm,
            });
        }
    }
    Ok(found)
}

fn name(case: &Case<'_>) -> Survivor {
    let finding = CHECKS
        .iter()
        .find_map(|check| check(case))
        .unwrap_or_else(|| state::signalled_or_not(case));
    Survivor {
        pid: case.stat.pid,
        comm: printable(&case.stat.comm),
        state: case.stat.state,
        cgroup: case.membership.v2().unwrap_or_default().to_owned(),
        reason: finding.reason,
        evidence: finding.evidence,
    }
}

/// A name without anything that could disturb a terminal or a table.
fn printable(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            let plain = !c.is_control();
            let escaped = (!plain).then(|| c.escape_default());
            plain
                .then_some(c)
                .into_iter()
                .chain(escaped.into_iter().flatten())
        })
        .collect()
}

fn unnamed(cgroup: &Cgroup, reason: Reason, evidence: String) -> Survivor {
    Survivor {
        pid: 0,
        comm: String::new(),
        state: '?',
        cgroup: cgroup.path().display().to_string(),
        reason,
        evidence,
    }
}
