//! `kill-main`: SIGKILL to the process that was started. What most supervisors do at a time-out.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;

use super::common::probe;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::sys::pidfd;
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct KillMain;

static SPEC: KillSpec = KillSpec {
    id: "kill-main",
    summary: "SIGKILL to the main process, through its pidfd",
    reach: Reach {
        scope: Scope::Main,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[],
    since: KernelVersion(5, 1),
    privilege: "",
    faults: "every other process of the tree lives on",
    sources: &["pidfd_send_signal(2)"],
    axes: &[],
};

impl KillStrategy for KillMain {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        probe::pidfds()
    }

    fn prepare<'t>(&self, _: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        Ok(Box::new(Ready))
    }
}

#[derive(Debug)]
struct Ready;

impl Killer for Ready {
    fn kill(&mut self, root: &Root, _: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        report.passes = 1;
        report.about_to_signal();
        report.sent(
            pidfd::send_signal(root.pidfd.as_fd(), Some(Signal::SIGKILL)),
            root.pid.as_raw(),
        );
        Ok(report.issued())
    }
}
