//! `cgroup-kill`: write `1` to `cgroup.kill`. The kernel kills the cgroup and everything below it,
//! forks in progress included.

use std::sync::Arc;

use nix::errno::Errno;

use super::control_files::{ControlFiles, OPEN_LATE};
use super::freeze::{FreezeSweep, Variant};
use super::{Fallback, KillError, KillReport, KillSpec, KillStrategy, Killer, Step};
use crate::MonoNs;
use crate::cgroup::CgroupError;
use crate::detect::Sources;
use crate::effects::Effects;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::scope::{Reach, Scope, Sweep};
use crate::set::ProcessSet;
use crate::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub struct CgroupKill;

static SPEC: KillSpec = KillSpec {
    id: "cgroup-kill",
    summary: "write 1 to cgroup.kill",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "leaves a process alive if its first thread has exited (until the fix in 6.12.117 and \
        later mainline); refused by a threaded cgroup (EOPNOTSUPP); waits for cgroup_mutex; \
        until Linux 7.3 a process cloned into the cgroup afterwards is killed at birth",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.kill",
        "kernel/cgroup/cgroup.c: __cgroup_kill(), 661ee6280931 (5.14), b69bb476dee9 (6.14)",
    ],
    axes: &[OPEN_LATE],
};

impl KillStrategy for CgroupKill {
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
        Ok(Box::new(KillOrSweep::prepare(set)?))
    }
}

/// Writes `cgroup.kill`; where that is refused, freezes and signals instead, and says so.
#[derive(Debug)]
pub struct KillOrSweep {
    files: Arc<ControlFiles>,
    instead: FreezeSweep,
    refused: bool,
}

impl KillOrSweep {
    /// Opens what it needs.
    pub fn prepare(set: &ProcessSet) -> Result<Self, CgroupError> {
        Ok(Self::with(set, Arc::new(ControlFiles::of(set)?)))
    }

    /// With files that have been opened.
    pub fn with(set: &ProcessSet, files: Arc<ControlFiles>) -> Self {
        Self {
            instead: FreezeSweep::with(set, files.clone(), Variant::HELD),
            files,
            refused: false,
        }
    }

    fn write(&mut self, report: &mut KillReport) -> Result<(), KillError> {
        report.passes += 1;
        report.about_to_signal();
        match self.files.kill() {
            Ok(()) => {
                report.sent(Ok(()), 0);
                Ok(())
            }
            Err(CgroupError::Sys(refusal)) if is_refusal(refusal.errno) => {
                report.fall_back(Fallback::FrozeAndSignalled(refusal));
                self.refused = true;
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }
}

/// Whether the set can be ended without `cgroup.kill` after this answer: there is no such file, the
/// cgroup is threaded, or this user may not write to it.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EACCES | Errno::EPERM | Errno::EROFS
    )
}

impl Killer for KillOrSweep {
    fn sources(&self) -> Sources<'_> {
        self.instead.sources()
    }

    fn step(&mut self, now: MonoNs, report: &mut KillReport) -> Result<Step, KillError> {
        if !self.refused {
            self.write(report)?;
        }
        if self.refused {
            self.instead.step(now, report)
        } else {
            Ok(Step::Issued)
        }
    }

    fn give_up(&mut self, report: &mut KillReport) -> Result<(), KillError> {
        self.instead.give_up(report)
    }
}
