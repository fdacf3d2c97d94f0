//! `freeze-cgroup-kill`: freeze, wait until frozen, then `cgroup.kill`, then thaw. Some runtimes do
//! both.

use std::sync::Arc;
use std::time::Duration;

use super::common::probe;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::expect::{Reach, Scope, Sweep};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::Sources;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::cgroup_kill::KillOrSweep;
use allgone::kill::freeze::FREEZE_WAIT;
use allgone::kill::{ControlFiles, Fallback, Step};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct FreezeCgroupKill;

static SPEC: KillSpec = KillSpec {
    id: "freeze-cgroup-kill",
    summary: "freeze, wait until `frozen 1`, write 1 to cgroup.kill, thaw",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "as cgroup-kill, which needs no freezing; freezing makes the event for emptiness 10 \
        to 20 ms late",
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

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn Killer>, KillError> {
        let files = Arc::new(ControlFiles::of(set)?);
        Ok(Box::new(Ready {
            write: KillOrSweep::with(set, files.clone()),
            patience: Duration::from_nanos(set.param(&FREEZE_WAIT)),
            files,
            phase: Phase::Begin,
        }))
    }
}

#[derive(Debug)]
struct Ready {
    files: Arc<ControlFiles>,
    write: KillOrSweep,
    patience: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begin,
    Holding(MonoNs),
    Write,
    Over,
}

/// The kernel's notification of `frozen 1` may be held back, so the state is read again at least
/// this often.
const LOOK: Duration = Duration::from_millis(1);

impl Ready {
    fn thaw(&mut self) -> Result<(), KillError> {
        let frozen = matches!(self.phase, Phase::Holding(_) | Phase::Write);
        self.phase = Phase::Over;
        if frozen {
            self.files.freeze(false)?;
        }
        Ok(())
    }
}

impl Killer for Ready {
    fn sources(&self) -> Sources<'_> {
        match self.phase {
            Phase::Holding(_) => Sources::none().priority(self.files.events()),
            _ => self.write.sources(),
        }
    }

    fn step(&mut self, now: MonoNs, report: &mut KillReport) -> Result<Step, KillError> {
        if self.phase == Phase::Begin {
            self.files.freeze(true)?;
            self.phase = Phase::Holding(now + self.patience);
        }
        if let Phase::Holding(until) = self.phase {
            if self.files.events().read()?.frozen {
                report.held_ns = Some(crate::sys::time::now().0);
            } else if now < until {
                return Ok(Step::Again((now + LOOK).min(until)));
            } else {
                report.fall_back(Fallback::DidNotWaitForFrozen);
            }
            self.phase = Phase::Write;
        }
        let step = self.write.step(now, report)?;
        if step == Step::Issued {
            self.thaw()?;
        }
        Ok(step)
    }

    fn give_up(&mut self, report: &mut KillReport) -> Result<(), KillError> {
        self.write.give_up(report)?;
        self.thaw()
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // After an error, which is the one to report.
        match self.thaw() {
            Ok(()) | Err(_) => {}
        }
    }
}
