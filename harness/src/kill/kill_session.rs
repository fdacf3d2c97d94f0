//! `kill-session`: SIGKILL to everyone in the session of the main process, found by scanning
//! `/proc`, until none is left.
//!
//! What `pkill --session` does, repeated. The caller is in that session too, and is spared.

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getsid};

use super::common::acting;
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::error::SysError;
use crate::proc;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::by_number;
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct KillSession;

static SPEC: KillSpec = KillSpec {
    id: "kill-session",
    summary: "SIGKILL by number to everyone in the session of the main process but the caller, by \
        scanning /proc until none is left in it",
    reach: Reach {
        scope: Scope::Session,
        sweep: Sweep::UntilNone,
    },
    claims_sound: false,
    may_hit: &[Bystander::SameGroup, Bystander::ReusedPid],
    effects: Effects::NONE,
    since: KernelVersion(1, 0),
    privilege: "",
    faults: "setsid(2) escapes; everyone else in the session dies too, the shell that started it \
        included; a scan is not atomic",
    sources: &["setsid(2)", "proc_pid_stat(5)"],
    axes: &[],
};

impl BlockingStrategy for KillSession {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        proc::stat(getpid().as_raw())?;
        Ok(Support::Available)
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let session = getsid(None).map_err(|e| SysError::plain("getsid", e))?;
        // A main process that does not lead a session shares one with its parent: here that would
        // be the harness, or the user's shell.
        if session != getpid() {
            return Err(KillError::Refused {
                strategy: SPEC.id,
                why: format!(
                    "the caller does not lead session {session}, so other processes are \
                    in it"
                ),
            });
        }
        Ok(acting(move |_, deadline, report| {
            kill_all(session, deadline, report)
        }))
    }
}

fn kill_all(session: Pid, deadline: MonoNs, report: &mut KillReport) -> Result<(), KillError> {
    let own = getpid().as_raw();
    loop {
        let everybody = proc::everybody()?;
        report.passes += 1;
        let members = everybody
            .iter()
            .filter(|stat| stat.session == session.as_raw() && stat.pid != own && stat.is_alive());
        let mut found = false;
        for stat in members {
            found = true;
            by_number(report, stat.pid, Signal::SIGKILL);
        }
        if !found {
            return Ok(());
        }
        if deadline.has_passed() {
            report.gave_up = true;
            return Ok(());
        }
    }
}
