//! `procs-loop-pids-max`: `pids.max` to 0, so that no process can be created; then the loop.
//! Supervisors without `cgroup.kill` can do this.
//!
//! The limit is the one of the trial: in the site's cgroup, else in its parent, else in the v1 pids
//! hierarchy. It is only ever tightened.

use nix::errno::Errno;
use nix::sys::signal::Signal;

use allgone::kill::sweep;

use super::common::{acting, own, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError, ControlFile};
use crate::expect::{Reach, Scope, Sweep};
use crate::record::FallbackKind;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::limits::LimitSource;
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct ProcsLoopPidsMax;

static SPEC: KillSpec = KillSpec {
    id: "procs-loop-pids-max",
    summary: "write 0 to pids.max, then SIGKILL everyone listed in cgroup.procs through verified \
        pidfds until `populated 0`",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Held,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(1),
    since: KernelVersion(5, 3),
    privilege: "the pids controller",
    faults: "forks that had passed the limit are completed, which the loop catches; members that \
        move while the list is read are found in a later pass",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: pids.max",
        "kernel/cgroup/pids.c: pids_can_fork()",
    ],
    axes: &[],
};

impl BlockingStrategy for ProcsLoopPidsMax {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match host.base.as_ref().map(|base| base.limits()) {
            Some(LimitSource::None) => Ok(Support::missing(
                "no pids controller",
                "delegate the pids controller, or mount the v1 pids hierarchy",
            )),
            _ => probe::lists(host),
        }
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let limit = nearest_limit(set)?;
        let cgroup = set.cgroup().clone();
        Ok(acting(move |_, deadline, report| {
            kill_all(&cgroup, limit.as_ref(), deadline, report)
        }))
    }
}

fn kill_all(
    cgroup: &Cgroup,
    limit: Option<&ControlFile>,
    deadline: MonoNs,
    report: &mut KillReport,
) -> Result<(), KillError> {
    match limit {
        Some(limit) => {
            limit.write("0")?;
            report.held_ns = Some(crate::sys::time::now().0);
        }
        None => report.fall_back(own(
            FallbackKind::DidNotStopBirths,
            "no pids.max was found: killed in a loop while births went on",
        )),
    }
    sweep::until_unpopulated(cgroup, Signal::SIGKILL, deadline, report)?;
    Ok(())
}

/// Opens the nearest `pids.max`, if there is one.
fn nearest_limit(set: &ProcessSet) -> Result<Option<ControlFile>, CgroupError> {
    for cgroup in [Some(set.cgroup()), set.parent()].into_iter().flatten() {
        match cgroup.control("pids.max") {
            Ok(limit) => return Ok(Some(limit)),
            Err(e) if e.errno() == Some(Errno::ENOENT) => {}
            Err(e) => return Err(e),
        }
    }
    let limits = set.v1().and_then(|limits| limits.pids.as_ref());
    let limit = limits.map(|dir| dir.join("pids.max"));
    limit.map(ControlFile::open).transpose()
}
