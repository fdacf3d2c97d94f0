//! `cgroup-kill-sweep`: write `1` to `cgroup.kill`; when its members no longer become fewer, the
//! rest is frozen and signalled one by one.
//!
//! `cgroup.kill` sends its signal to the first thread of each process. If that thread has exited
//! and others live on, kernels before the fix ("cgroup: fix cgroup.kill for exited thread group
//! leader") do not kill the process. A signal sent to the *process* does. So the write is only the
//! first step, and the kill is complete at `populated 0`.

use std::sync::Arc;
use std::time::Duration;

use super::cgroup_kill::KillOrSweep;
use super::control_files::ControlFiles;
use super::freeze::{FREEZE_WAIT, FreezeSweep, LOOK, Variant};
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer, Step};
use crate::MonoNs;
use crate::cgroup::{Census, Cgroup};
use crate::detect::Sources;
use crate::effects::Effects;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::param::{Axis, Unit};
use crate::scope::{Reach, Scope, Sweep};
use crate::set::ProcessSet;
use crate::spawn::SpawnOptions;

/// How often the members are counted.
const PATIENCE: Axis = Axis {
    name: "patience",
    unit: Unit::Nanoseconds,
    default: 20_000_000,
    kill_default: None,
    doc: "how long a cgroup may stay as populated as it was, after a write to cgroup.kill, before \
        its members are swept one by one",
};

/// The strategy.
#[derive(Debug)]
pub struct CgroupKillSweep;

static SPEC: KillSpec = KillSpec {
    id: "cgroup-kill-sweep",
    summary: "write 1 to cgroup.kill; when members no longer become fewer, freeze, SIGKILL \
        everyone through verified pidfds, thaw; until `populated 0`",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Held,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "it returns when all are dead, not when the kill is issued; a set in which no process \
        dies for a while is signalled twice",
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

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn Killer>, KillError> {
        let files = Arc::new(ControlFiles::of(set)?);
        Ok(Box::new(Ready {
            cgroup: set.cgroup().clone(),
            patience: Duration::from_nanos(set.param(&PATIENCE)),
            write: KillOrSweep::with(set, files.clone()),
            sweep: FreezeSweep::with(set, files.clone(), Variant::HELD),
            files,
            phase: Phase::Write,
        }))
    }
}

#[derive(Debug)]
struct Ready {
    cgroup: Arc<Cgroup>,
    patience: Duration,
    files: Arc<ControlFiles>,
    write: KillOrSweep,
    sweep: FreezeSweep,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The write to `cgroup.kill`, or what is done instead.
    Write,
    /// Members die; there were `least` of them at the last count, and they are counted again at
    /// `until`.
    Dying { least: usize, until: MonoNs },
    /// Those that are left are swept.
    Sweep,
}

impl Ready {
    fn dying(&self, now: MonoNs, least: usize) -> Phase {
        Phase::Dying {
            least,
            until: now + self.patience,
        }
    }

    /// Waits for `populated 0` for as long as members become fewer. The kernel may delay the event
    /// for emptiness, so the state is read again at least every millisecond.
    fn die_out(&mut self, now: MonoNs, least: usize, until: MonoNs) -> Result<Step, KillError> {
        if !self.files.events().read()?.populated {
            return Ok(Step::Issued);
        }
        if now < until {
            return Ok(Step::Again((now + LOOK).min(until)));
        }
        let members = Census::deep(&self.cgroup)?.pids.len();
        if members < least {
            self.phase = self.dying(now, members);
            return Ok(Step::Again(now + LOOK));
        }
        self.sweep.again();
        self.phase = Phase::Sweep;
        Ok(Step::Again(now))
    }
}

impl Killer for Ready {
    fn sources(&self) -> Sources<'_> {
        match self.phase {
            Phase::Write => self.write.sources(),
            Phase::Dying { .. } => Sources::none().priority(self.files.events()),
            Phase::Sweep => self.sweep.sources(),
        }
    }

    fn step(&mut self, now: MonoNs, report: &mut KillReport) -> Result<Step, KillError> {
        let issued = match self.phase {
            Phase::Write => self.write.step(now, report)?,
            Phase::Sweep => self.sweep.step(now, report)?,
            Phase::Dying { least, until } => return self.die_out(now, least, until),
        };
        if issued == Step::Issued {
            self.phase = self.dying(now, usize::MAX);
            return Ok(Step::Again(now));
        }
        Ok(issued)
    }

    fn give_up(&mut self, report: &mut KillReport) -> Result<(), KillError> {
        self.write.give_up(report)?;
        self.sweep.give_up(report)
    }
}
