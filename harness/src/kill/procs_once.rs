//! `procs-once`: read `cgroup.procs` once, SIGKILL each. What `kill $(cat cgroup.procs)` does.

use nix::sys::signal::Signal;

use super::common::probe;
use super::common::signal::by_number;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::cgroup::Census;
use crate::expect::{Canary, Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct ProcsOnce;

static SPEC: KillSpec = KillSpec {
    id: "procs-once",
    summary: "SIGKILL by number to everyone listed in cgroup.procs of the cgroup itself, once",
    reach: Reach {
        scope: Scope::CgroupAlone,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[Canary::ReusedPid],
    since: KernelVersion(4, 5),
    privilege: "",
    faults: "whoever is born after the read lives on, and so does everyone in a cgroup below; a number may have a new owner by the time it is \
             signalled",
    sources: &["Documentation/admin-guide/cgroup-v2.rst: cgroup.procs", "kill(2)"],
    axes: &[],
};

impl KillStrategy for ProcsOnce {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::lists(host)
    }

    fn prepare<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        Ok(Box::new(Ready { site }))
    }
}

#[derive(Debug)]
struct Ready<'t> {
    site: &'t Site,
}

impl Killer for Ready<'_> {
    fn kill(&mut self, _: &Root, _: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        let census = Census::alone(&self.site.cgroup)?;
        report.passes = 1;
        report.foreign = census.foreign;
        for pid in census.pids {
            by_number(&mut report, pid, Signal::SIGKILL);
        }
        Ok(report.issued())
    }
}
