//! `procs-loop`: read `cgroup.procs` of the cgroup and everything below, SIGKILL each, and repeat
//! until none is listed.
//!
//! Many supervisors did this before `cgroup.kill`. No process is stopped meanwhile: it is a race
//! that the loop happens to win.

use nix::sys::signal::Signal;

use super::common::{acting, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::cgroup::Census;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::by_number;
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct ProcsLoop;

static SPEC: KillSpec = KillSpec {
    id: "procs-loop",
    summary: "SIGKILL by number to everyone listed in cgroup.procs, recursively, repeatedly until \
        none is listed",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::UntilNone,
    },
    claims_sound: false,
    may_hit: &[Bystander::ReusedPid],
    effects: Effects::NONE,
    since: KernelVersion(4, 5),
    privilege: "",
    faults: "members fork and move while the list is read; a number may have a new owner by the \
        time it is signalled; a walk that finds no member is not a proof while members move",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.procs",
        "kill(2)",
    ],
    axes: &[],
};

impl BlockingStrategy for ProcsLoop {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::lists(host)
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let set = set.clone();
        Ok(acting(move |_, deadline, report| {
            kill_all(&set, deadline, report)
        }))
    }
}

fn kill_all(set: &ProcessSet, deadline: MonoNs, report: &mut KillReport) -> Result<(), KillError> {
    loop {
        let census = Census::deep(set.cgroup())?;
        report.passes += 1;
        report.foreign = report.foreign.max(census.foreign);
        if census.is_empty() {
            return Ok(());
        }
        if deadline.has_passed() {
            report.gave_up = true;
            return Ok(());
        }
        for pid in census.pids {
            by_number(report, pid, Signal::SIGKILL);
        }
    }
}
