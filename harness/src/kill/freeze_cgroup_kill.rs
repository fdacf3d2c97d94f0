//! `freeze-cgroup-kill`: freeze, wait until frozen, then `cgroup.kill`, then thaw. Belt and braces, as some runtimes do it.

use std::time::Duration;

use super::cgroup_kill::kill_or_fall_back;
use super::common::hold::{FREEZE_WAIT, Freeze};
use super::common::levers::Levers;
use super::common::probe;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct FreezeCgroupKill;

static SPEC: KillSpec = KillSpec {
    id: "freeze-cgroup-kill",
    summary: "freeze, wait until `frozen 1`, write 1 to cgroup.kill, thaw",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "as cgroup-kill, which needs no freezing; the freezing makes the news of emptiness 10 to 20 ms late",
    sources: &["Documentation/admin-guide/cgroup-v2.rst: cgroup.kill, cgroup.freeze"],
    axes: &[FREEZE_WAIT],
};

impl KillStrategy for FreezeCgroupKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::file(host, "cgroup.kill", "Linux 5.14 or later")
    }

    fn prepare<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        let levers = Levers::of(site)?;
        Ok(Box::new(Ready { site, levers }))
    }
}

#[derive(Debug)]
struct Ready<'t> {
    site: &'t Site,
    levers: Levers<'t>,
}

impl Killer for Ready<'_> {
    fn kill(&mut self, _: &Root, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        let freeze = Freeze::begin(&self.levers)?;
        let patience = crate::sys::time::now() + Duration::from_nanos(self.site.param(&FREEZE_WAIT));
        if freeze.wait(patience.min(deadline))? {
            report.held_ns = Some(crate::sys::time::now().0);
        } else {
            report.fall_back("cgroup.events did not say `frozen 1` in time: went on without".to_owned());
        }
        kill_or_fall_back(self.site, &self.levers, deadline, &mut report)?;
        freeze.thaw()?;
        Ok(report.issued())
    }
}
