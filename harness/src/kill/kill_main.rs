//! `kill-main`: SIGKILL to the process that was started. What most supervisors do at a time-out.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;

use super::common::{acting, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::expect::{Reach, Scope, Sweep};
use crate::sys::pidfd;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct KillMain;

static SPEC: KillSpec = KillSpec {
    id: "kill-main",
    summary: "SIGKILL to the main process, through its pidfd",
    reach: Reach {
        scope: Scope::Main,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[],
    effects: Effects::NONE,
    since: KernelVersion(5, 1),
    privilege: "",
    faults: "every other process of the tree lives on",
    sources: &["pidfd_send_signal(2)"],
    axes: &[],
};

impl BlockingStrategy for KillMain {
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
        Ok(acting(|child, _, report| kill(child, report)))
    }
}

fn kill(child: &Child, report: &mut KillReport) -> Result<(), KillError> {
    report.passes = 1;
    report.about_to_signal();
    report.sent(
        pidfd::send_signal(child.pidfd.as_fd(), Some(Signal::SIGKILL)),
        child.pid.as_raw(),
    );
    Ok(())
}
