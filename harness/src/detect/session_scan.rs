//! Scan /proc for members of the main process's session.

use super::common::passes::{Pass, Passes};
use super::common::proc_stat::{self, Stat};
use super::{DetectError, Detector, DetectorSpec, INTERVAL, Wake, Watch};
use crate::error::SysError;
use crate::expect::Scope;
use allgone::Effects;
use allgone::ProcessSet;
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

impl Detector for SessionScan {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        super::common::probe::proc_is_ours()
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Passes::over(Session { main: 0 }, set)))
    }
}

#[derive(Debug)]
struct Session {
    main: i32,
}

/// Whether a member of the session is alive. The main process counts even before it has created the
/// session.
fn someone_lives(all: &[Stat], main: i32) -> bool {
    all.iter()
        .any(|s| (s.session == main || s.pid == main) && !s.over())
}

impl Pass for Session {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        self.main = child.pid.as_raw();
        Ok(())
    }

    fn finds_a_live_one(&self) -> Result<bool, SysError> {
        Ok(someone_lives(&proc_stat::scan()?, self.main))
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
