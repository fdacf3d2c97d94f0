//! `pidfd-tree-kill`: find the descendants of the main process by parent links, hold each by a
//! pidfd, kill them all, look again.
//!
//! Safe against pid reuse, but blind to orphans: a process that loses its parent leaves the tree.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::common::{acting, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::{Reach, Scope, Sweep};
use crate::proc::{self, Stat};
use crate::sys::pidfd;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::by_pidfd;
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct PidfdTreeKill;

static SPEC: KillSpec = KillSpec {
    id: "pidfd-tree-kill",
    summary: "open a pidfd for the main process and all its descendants by parent links, until a \
        scan finds no new one; SIGKILL each; repeat",
    reach: Reach {
        scope: Scope::LinkedDescendants,
        sweep: Sweep::UntilNone,
    },
    claims_sound: false,
    may_hit: &[],
    effects: Effects::NONE,
    since: KernelVersion(5, 3),
    privilege: "",
    faults: "orphans are lost: a daemon, or the child of a process that is killed before the \
        child was seen",
    sources: &["pidfd_open(2)", "proc_pid_stat(5)"],
    axes: &[],
};

impl BlockingStrategy for PidfdTreeKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        probe::pidfds()
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        Ok(acting(kill_all))
    }
}

fn kill_all(child: &Child, deadline: MonoNs, report: &mut KillReport) -> Result<(), KillError> {
    let main = child
        .pidfd
        .try_clone()
        .map_err(|e| SysError::io("dup", crate::Target::Pid(child.pid.as_raw()), &e))?;
    let mut held = HashMap::from([(child.pid.as_raw(), main)]);
    let mut killed: HashSet<i32> = HashSet::new();
    loop {
        while discover(&mut held, report)? > 0 && !deadline.has_passed() {}
        let fresh: Vec<i32> = held
            .keys()
            .copied()
            .filter(|pid| !killed.contains(pid))
            .collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            if let Some(fd) = held.get(&pid) {
                // Whatever the answer, there is nothing more to do about this one; the report
                // has it.
                match by_pidfd(report, fd, pid, Signal::SIGKILL) {
                    Ok(()) | Err(_) => killed.insert(pid),
                };
            }
        }
        if deadline.has_passed() {
            report.gave_up = true;
            break;
        }
    }
    Ok(())
}

/// One scan: opens a pidfd of every process with a live parent that is held. Returns how many are
/// new.
fn discover(held: &mut HashMap<i32, OwnedFd>, report: &mut KillReport) -> Result<usize, KillError> {
    report.passes += 1;
    let everybody = proc::everybody()?;
    let mut new = 0;
    for stat in children_of(&everybody, held) {
        match pidfd::open(Pid::from_raw(stat.pid)) {
            // Opened, and then still the child of that parent: it is the one that was listed.
            Ok(fd) if proc::stat(stat.pid).is_ok_and(|now| now.ppid == stat.ppid) => {
                held.insert(stat.pid, fd);
                new += 1;
            }
            Ok(_) => {}
            Err(nix::errno::Errno::ESRCH) => report.esrch += 1,
            Err(errno) => report.met(&SysError::pid("pidfd_open", stat.pid, errno)),
        }
    }
    Ok(new)
}

/// All descendants of the processes that are held and have not ended, except those that are held
/// already.
fn children_of<'s>(everybody: &'s [Stat], held: &HashMap<i32, OwnedFd>) -> Vec<&'s Stat> {
    let mut inside: HashSet<i32> = held
        .iter()
        .filter(|(_, fd)| pidfd::has_exited(fd.as_fd()) == Ok(false))
        .map(|(pid, _)| *pid)
        .collect();
    let mut found: Vec<&Stat> = Vec::new();
    loop {
        let generation: Vec<&Stat> = everybody
            .iter()
            .filter(|stat| {
                inside.contains(&stat.ppid) && !inside.contains(&stat.pid) && stat.is_alive()
            })
            .collect();
        if generation.is_empty() {
            break;
        }
        inside.extend(generation.iter().map(|stat| stat.pid));
        found.extend(generation);
    }
    found.retain(|stat| !held.contains_key(&stat.pid));
    found
}
