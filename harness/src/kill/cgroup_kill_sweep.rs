//! `cgroup-kill-sweep`: write `1` to `cgroup.kill`; when they no longer become fewer, whoever is left is frozen and signalled one by one.
//!
//! `cgroup.kill` sends its signal to the first thread of each process. Where that one has exited and others live on, kernels before the
//! fix ("cgroup: fix cgroup.kill for exited thread group leader") kill nobody. A signal sent to the *process* does. So the write is only the
//! beginning, and the end is `populated 0`.

use std::time::Duration;

use super::cgroup_kill::kill_or_fall_back;
use super::common::freeze::{Variant, freeze_and_kill};
use super::common::{
    hold::{FREEZE_WAIT, sleep_on_events},
    levers::Levers,
    probe,
};
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::cgroup::Census;
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::param::{Axis, Unit};
use crate::trial::{Root, Site, SpawnPlan};

/// How often it looks whether fewer live.
const PATIENCE: Axis = Axis {
    name: "patience",
    unit: Unit::Nanoseconds,
    default: 20_000_000,
    kill_default: None,
    doc: "how long a cgroup may stay as populated as it was, after a write to cgroup.kill, before its members are swept one by one",
};

/// The strategy.
#[derive(Debug)]
pub struct CgroupKillSweep;

static SPEC: KillSpec = KillSpec {
    id: "cgroup-kill-sweep",
    summary: "write 1 to cgroup.kill; when members no longer become fewer, freeze, SIGKILL everyone through verified pidfds, thaw; until `populated 0`",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Held,
    },
    claims_sound: true,
    may_hit: &[],
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "it returns when all are dead, not when the kill is issued; a set in which nobody dies for a while is signalled twice",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.kill, cgroup.freeze",
        "kernel/cgroup/cgroup.c: __cgroup_kill(); kernel/signal.c: complete_signal()",
        "Linux 6.12.117: cgroup: fix cgroup.kill for exited thread group leader",
    ],
    axes: &[FREEZE_WAIT, PATIENCE],
};

impl KillStrategy for CgroupKillSweep {
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
        kill_or_fall_back(self.site, &self.levers, deadline, &mut report)?;
        while !self.dies_out(deadline)? {
            if deadline.has_passed() {
                report.gave_up = true;
                break;
            }
            let variant = Variant {
                wait: true,
                thaw_first: false,
            };
            freeze_and_kill(self.site, &self.levers, variant, deadline, &mut report)?;
        }
        Ok(report.issued())
    }
}

impl Ready<'_> {
    /// Waits for `populated 0` for as long as members become fewer; false if they no longer do. The news of emptiness may be held back by
    /// the kernel, so the state is read again at least every millisecond.
    fn dies_out(&self, deadline: MonoNs) -> Result<bool, KillError> {
        let events = self.levers.events();
        let patience = Duration::from_nanos(self.site.param(&PATIENCE));
        let mut least = usize::MAX;
        loop {
            let until = (crate::sys::time::now() + patience).min(deadline);
            while events.read()?.populated {
                if until.has_passed() {
                    break;
                }
                sleep_on_events(events, Duration::from_millis(1))?;
            }
            if !events.read()?.populated {
                return Ok(true);
            }
            let members = Census::deep(&self.site.cgroup)?.pids.len();
            if members >= least || deadline.has_passed() {
                return Ok(false);
            }
            least = members;
        }
    }
}
