//! `term-grace-kill`: SIGTERM to every member, a grace period, then `cgroup.kill`. What service
//! managers do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::cgroup_kill::KillOrSweep;
use super::control_files::ControlFiles;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer, Step, sweep};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::Sources;
use crate::effects::Effects;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::param::{Axis, Unit};
use crate::scope::{Reach, Scope, Sweep};
use crate::set::ProcessSet;
use crate::spawn::SpawnOptions;

/// How long the members have.
pub(crate) const GRACE: Axis = Axis {
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
    summary: "SIGTERM to everyone in the cgroup and below through verified pidfds, wait for \
        `populated 0` for a grace period, then cgroup.kill",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "as cgroup-kill, later by the grace period if a member ignores SIGTERM or goes on \
        forking",
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

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn Killer>, KillError> {
        let files = Arc::new(ControlFiles::of(set)?);
        Ok(Box::new(Ready {
            cgroup: set.cgroup().clone(),
            grace: Duration::from_nanos(set.param(&GRACE)),
            write: KillOrSweep::with(set, files.clone()),
            files,
            phase: Phase::Ask,
        }))
    }
}

#[derive(Debug)]
struct Ready {
    cgroup: Arc<Cgroup>,
    grace: Duration,
    files: Arc<ControlFiles>,
    write: KillOrSweep,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Ask,
    Grace(MonoNs),
    Write,
}

/// How often the state is read while members may end by themselves: the event for emptiness may be
/// delayed.
const LOOK: Duration = Duration::from_millis(10);

impl Killer for Ready {
    fn sources(&self) -> Sources<'_> {
        match self.phase {
            Phase::Write => self.write.sources(),
            Phase::Ask | Phase::Grace(_) => Sources::none().priority(self.files.events()),
        }
    }

    fn step(&mut self, now: MonoNs, report: &mut KillReport) -> Result<Step, KillError> {
        if let Phase::Ask = self.phase {
            sweep::pass(&self.cgroup, Signal::SIGTERM, &mut HashSet::new(), report)?;
            self.phase = Phase::Grace(crate::sys::time::now() + self.grace);
        }
        if let Phase::Grace(until) = self.phase {
            if !self.files.events().read()?.populated {
                return Ok(Step::Issued);
            }
            if now < until {
                return Ok(Step::Again((now + LOOK).min(until)));
            }
            self.phase = Phase::Write;
        }
        self.write.step(now, report)
    }

    /// The grace is over when the deadline is.
    fn give_up(&mut self, report: &mut KillReport) -> Result<(), KillError> {
        if let Phase::Grace(_) = self.phase {
            self.files.kill()?;
            report.sent(Ok(()), 0);
        }
        self.write.give_up(report)
    }
}
