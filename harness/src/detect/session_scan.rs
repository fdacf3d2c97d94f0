//! Scan /proc for members of the main process's session.

use std::time::Duration;

use super::common::proc_stat::{self, Stat};
use super::{
    BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, INTERVAL, Verdict, Wake,
};
use crate::MonoNs;
use crate::expect::Scope;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::sleep::{self, Slept};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// The session number of every process, each `interval`; two passes in a row that find no process
/// decide.
#[derive(Debug)]
pub(super) struct SessionScan;

static SPEC: DetectorSpec = DetectorSpec {
    id: "session-scan",
    summary: "Scans /proc at intervals for processes of the main process's session.",
    scope: Scope::Session,
    wake: Wake::Interval,
    signal: super::Signal::Emptiness,
    effects: Effects::NONE,
    since: KernelVersion(2, 6),
    privilege: "",
    escapes: "a process that calls setsid(2); every process, if /proc is mounted with hidepid or \
        shows another PID namespace",
    early: "when the members of the session have ended and a process of the tree is in another \
        one; a pass is not a snapshot, so a chain of forks that runs against the order of the \
        directory can be missed (two passes have to agree)",
    late: "by up to two intervals",
    idle_cost: "one pass over /proc per interval: three system calls per process on the machine",
    overflow: "cannot: it reads the state",
    loses_on_removal: false,
    sources: &["proc_pid_stat(5)", "setsid(2)"],
    axes: &[INTERVAL],
};

impl BlockingDetector for SessionScan {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        super::common::probe::proc_is_ours()
    }

    fn arm(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Scanning {
            main: 0,
            interval: Duration::from_nanos(set.param(&INTERVAL)),
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Scanning {
    main: i32,
    interval: Duration,
    counters: Counters,
}

/// Whether a member of the session is alive. The main process counts even before it has created the
/// session.
fn someone_lives(all: &[Stat], main: i32) -> bool {
    all.iter()
        .any(|s| (s.session == main || s.pid == main) && !s.over())
}

impl BlockingWatch for Scanning {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        self.main = child.pid.as_raw();
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let mut woke = now();
        let mut found_nobody = false;
        loop {
            self.counters.reads += 1;
            let nobody = match proc_stat::scan() {
                Ok(all) => !someone_lives(&all, self.main),
                Err(e) => return Ok(Verdict::unknown(e)),
            };
            if nobody && found_nobody {
                return Ok(Verdict::empty(woke));
            }
            found_nobody = nobody;
            match sleep::until(woke + self.interval, deadline) {
                Slept::Woken(at) => woke = at,
                Slept::Deadline => return Ok(Verdict::deadline()),
            }
            self.counters.wakeups += 1;
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zombies_and_other_sessions_do_not_count() {
        let stat = |pid, session, state| Stat {
            pid,
            state,
            ppid: 1,
            pgrp: pid,
            session,
            threads: 1,
            start: 0,
        };
        assert!(someone_lives(&[stat(9, 7, b'S')], 7));
        assert!(
            someone_lives(&[stat(7, 1, b'R')], 7),
            "not yet a session leader"
        );
        assert!(!someone_lives(&[stat(7, 7, b'Z'), stat(9, 9, b'S')], 7));
    }
}
