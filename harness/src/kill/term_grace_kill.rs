//! `term-grace-kill`: SIGTERM to everyone, a grace period, then `cgroup.kill`. What service managers do.

use std::collections::HashSet;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::cgroup_kill::kill_or_fall_back;
use super::common::{hold::sleep_on_events, levers::Levers, probe, sweep};
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::param::{Axis, Unit};
use crate::trial::{Root, Site, SpawnPlan};

/// How long the members have.
const GRACE: Axis = Axis {
    name: "grace",
    unit: Unit::Nanoseconds,
    default: 100_000_000,
    kill_default: None,
    doc: "how long processes may take to end after SIGTERM before they are killed",
};

/// The strategy.
#[derive(Debug)]
pub struct TermGraceKill;

static SPEC: KillSpec = KillSpec {
    id: "term-grace-kill",
    summary: "SIGTERM to everyone in the cgroup and below through verified pidfds, wait for `populated 0` for a grace period, then cgroup.kill",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "as cgroup-kill, later by the grace period for whoever ignores SIGTERM or goes on forking",
    sources: &[
        "systemd.kill(5)",
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.kill",
    ],
    axes: &[GRACE],
};

impl KillStrategy for TermGraceKill {
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
        let cgroup = &self.site.cgroup;
        let events = self.levers.events();
        sweep::pass(cgroup, Signal::SIGTERM, &mut HashSet::new(), &mut report)?;
        let grace = crate::sys::time::now() + Duration::from_nanos(self.site.param(&GRACE));
        let until = grace.min(deadline);
        while events.read()?.populated {
            if until.has_passed() {
                kill_or_fall_back(self.site, &self.levers, deadline, &mut report)?;
                break;
            }
            sleep_on_events(events, until.remaining().min(Duration::from_millis(10)))?;
        }
        Ok(report.issued())
    }
}
