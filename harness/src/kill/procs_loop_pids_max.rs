//! `procs-loop-pids-max`: `pids.max` to 0, so that nobody can be born; then the loop. What supervisors without `cgroup.kill` can do.
//!
//! The limit sits where the belt of the trial is: in the site's cgroup, else in its parent, else in the v1 pids hierarchy. It is only ever
//! tightened.

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::common::{probe, sweep};
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::cgroup::{CgroupError, ControlFile};
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Belts, Host, KernelVersion, ProbeError, Support};
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct ProcsLoopPidsMax;

static SPEC: KillSpec = KillSpec {
    id: "procs-loop-pids-max",
    summary: "write 0 to pids.max, then SIGKILL everyone listed in cgroup.procs through verified pidfds until `populated 0`",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Held,
    },
    claims_sound: true,
    may_hit: &[],
    since: KernelVersion(5, 3),
    privilege: "the pids controller",
    faults: "forks that had passed the limit are completed, which the loop catches; members that move while the list is read are met again",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: pids.max",
        "kernel/cgroup/pids.c: pids_can_fork()",
    ],
    axes: &[],
};

impl KillStrategy for ProcsLoopPidsMax {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match host.base.as_ref().map(|base| &base.belts) {
            Some(Belts::None) => Ok(Support::missing(
                "no pids controller",
                "delegate the pids controller, or mount the v1 pids hierarchy",
            )),
            _ => probe::lists(host),
        }
    }

    fn prepare<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        let limit = nearest_limit(site)?;
        Ok(Box::new(Ready { site, limit }))
    }
}

#[derive(Debug)]
struct Ready<'t> {
    site: &'t Site,
    limit: Option<ControlFile>,
}

impl Killer for Ready<'_> {
    fn kill(&mut self, _: &Root, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        match &self.limit {
            Some(limit) => {
                limit.write("0")?;
                report.held_ns = Some(crate::sys::time::now().0);
            }
            None => report.fall_back("no pids.max was found: killed in a loop while births went on".to_owned()),
        }
        sweep::until_unpopulated(&self.site.cgroup, Signal::SIGKILL, deadline, &mut report)?;
        Ok(report.issued())
    }
}

/// Opens the nearest `pids.max`, if there is one.
fn nearest_limit(site: &Site) -> Result<Option<ControlFile>, CgroupError> {
    for cgroup in [&site.cgroup, &site.parent] {
        match cgroup.control("pids.max") {
            Ok(limit) => return Ok(Some(limit)),
            Err(e) if e.errno() == Some(Errno::ENOENT) => {}
            Err(e) => return Err(e),
        }
    }
    let belt = site.v1.as_ref().map(|belts| belts.pids.join("pids.max"));
    belt.map(ControlFile::open).transpose()
}
