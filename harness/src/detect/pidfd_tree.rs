//! Follow the parent links of live processes, and hold a pidfd of each one found.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::common::probe;
use super::common::proc_stat::{self, Stat};
use super::{Counters, DetectError, Detector, DetectorSpec, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::param::{Axis, Unit};
use crate::sys::pidfd;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::detect::{Progress, Sources, Tally};
use allgone::effects::{Effects, Holds};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// Discover, open, watch, discover again until nothing new is found.
#[derive(Debug)]
pub(super) struct PidfdTree;

const RESCAN: Axis = Axis {
    name: "rescan",
    unit: Unit::Nanoseconds,
    default: 10_000_000,
    kill_default: None,
    doc: "how often pidfd-tree scans for new descendants while no known process ends",
};

static SPEC: DetectorSpec = DetectorSpec {
    id: "pidfd-tree",
    summary: "Finds descendants by parent links in /proc, polls a pidfd of each, and scans again \
        when one ends and at intervals.",
    scope: Scope::LinkedDescendants,
    wake: Wake::Interval,
    signal: super::Signal::Emptiness,
    effects: Effects {
        holds: Holds {
            descriptors_per_process: 1,
            ..Effects::NONE.holds
        },
        ..Effects::NONE
    },
    since: KernelVersion(5, 3),
    privilege: "",
    escapes: "a child that loses its parent before the next pass: its parent link then leads \
        elsewhere (double fork, setsid daemons)",
    early: "when the last process that it knows has ended and an orphan that it never saw lives on",
    late: "one wake-up and one pass over /proc, which grows with the number of processes on the \
        machine",
    idle_cost: "one pass over /proc per interval: about three system calls per process on the \
        machine",
    overflow: "no descriptor left (RLIMIT_NOFILE): says unknown",
    loses_on_removal: false,
    sources: &["pidfd_open(2)", "proc_pid_stat(5)"],
    axes: &[RESCAN],
};

impl Detector for PidfdTree {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        probe::pidfd()
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Following {
            living: BTreeMap::new(),
            rescan: Duration::from_nanos(set.param(&RESCAN)),
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Following {
    /// Known processes that have not ended. A number is not reused while its pidfd says that the
    /// process runs.
    living: BTreeMap<i32, OwnedFd>,
    rescan: Duration,
    tally: Tally,
}

impl Following {
    /// Drops the ones that have ended.
    fn drop_ended(&mut self) -> Result<(), SysError> {
        let mut ended = Vec::new();
        for (pid, fd) in &self.living {
            if pidfd::has_exited(fd.as_fd())
                .map_err(|e| SysError::pid("poll the pidfd", *pid, e))?
            {
                ended.push(*pid);
            }
        }
        for pid in ended {
            self.living.remove(&pid);
        }
        Ok(())
    }

    /// Adds every live descendant of a known process, until a pass finds none.
    fn discover(&mut self) -> Result<(), DetectError> {
        loop {
            self.tally.counters.reads += 1;
            let known: BTreeSet<i32> = self.living.keys().copied().collect();
            let mut added = false;
            for found in descendants(&proc_stat::scan()?, &known) {
                if let Some(fd) = open_same(&found)? {
                    self.living.insert(found.pid, fd);
                    added = true;
                }
            }
            if !added {
                return Ok(());
            }
        }
    }
}

/// Live processes below `known` in one pass over /proc, not in `known` themselves.
fn descendants(all: &[Stat], known: &BTreeSet<i32>) -> Vec<Stat> {
    let mut inside = known.clone();
    let mut found = Vec::new();
    loop {
        let before = found.len();
        for stat in all {
            if inside.contains(&stat.ppid) && inside.insert(stat.pid) {
                found.push(*stat);
            }
        }
        if found.len() == before {
            found.retain(|s| !s.over());
            return found;
        }
    }
}

/// Opens the process that `stat` was read from. `None`: it has ended, and its pid may belong to
/// another process by now.
fn open_same(stat: &Stat) -> Result<Option<OwnedFd>, DetectError> {
    let fd = match pidfd::open(Pid::from_raw(stat.pid)) {
        Ok(fd) => fd,
        Err(Errno::ESRCH) => return Ok(None),
        Err(e) => return Err(limit::descriptor(SysError::pid("pidfd_open", stat.pid, e))),
    };
    // The same start time after opening: the descriptor is of the process that was read.
    Ok(proc_stat::read(stat.pid)?
        .is_some_and(|again| again.start == stat.start)
        .then_some(fd))
}

impl Watch for Following {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        let own = child
            .pidfd
            .try_clone()
            .map_err(|e| SysError::io("dup", crate::Target::Pid(child.pid.as_raw()), &e))?;
        self.living.insert(child.pid.as_raw(), own);
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        self.living
            .values()
            .fold(Sources::none(), Sources::readable)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        self.tally.check();
        match self.discover() {
            Ok(()) => {}
            Err(e @ DetectError::Limit { .. }) => return Ok(Progress::done(Verdict::unknown(e))),
            Err(e) => return Err(e),
        }
        self.drop_ended()?;
        if self.living.is_empty() {
            return Ok(Progress::done(Verdict::empty(now)));
        }
        // A pass takes long where there are many processes: the pause begins after it.
        let again = crate::sys::time::now() + self.rescan;
        Ok(Progress::pending().look_at(again).with_new_sources(true))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: i32, ppid: i32, state: u8) -> Stat {
        Stat {
            pid,
            state,
            ppid,
            pgrp: pid,
            session: pid,
            threads: 1,
            start: 0,
        }
    }

    #[test]
    fn grandchildren_are_found_whatever_the_order_and_orphans_are_not() {
        let all = [
            stat(30, 20, b'S'),
            stat(20, 10, b'R'),
            stat(40, 1, b'S'),
            stat(10, 1, b'S'),
            stat(50, 30, b'Z'),
            stat(60, 50, b'S'),
        ];
        let mut found: Vec<i32> = descendants(&all, &BTreeSet::from([10]))
            .iter()
            .map(|s| s.pid)
            .collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [20, 30, 60],
            "a zombie is walked through, not counted; 40 was orphaned"
        );
        assert!(descendants(&all, &BTreeSet::new()).is_empty());
    }
}
