//! `procs-once`: read `cgroup.procs` once, SIGKILL each. What `kill $(cat cgroup.procs)` does.

use nix::sys::signal::Signal;

use super::common::{acting, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::cgroup::Census;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::by_number;
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct ProcsOnce;

static SPEC: KillSpec = KillSpec {
    id: "procs-once",
    summary: "SIGKILL by number to everyone listed in cgroup.procs of the cgroup itself, once",
    reach: Reach {
        scope: Scope::CgroupAlone,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[Bystander::ReusedPid],
    effects: Effects::NONE,
    since: KernelVersion(4, 5),
    privilege: "",
    faults: "a process that is born after the read lives on, and so does every member of a cgroup \
        below; a number may have a new owner by the time it is signalled",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.procs",
        "kill(2)",
    ],
    axes: &[],
};

impl BlockingStrategy for ProcsOnce {
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
        Ok(acting(move |_, _, report| kill_all(&set, report)))
    }
}

fn kill_all(set: &ProcessSet, report: &mut KillReport) -> Result<(), KillError> {
    let census = Census::alone(set.cgroup())?;
    report.passes = 1;
    report.foreign = census.foreign;
    for pid in census.pids {
        by_number(report, pid, Signal::SIGKILL);
    }
    Ok(())
}
