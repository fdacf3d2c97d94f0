//! The four ways to freeze and kill: wait for `frozen 1` or not, thaw after the signals or before
//! them.
//!
//! Freezing is a request. It is done when `cgroup.events` says `frozen 1`: then no member runs, and
//! none is in the middle of a fork. SIGKILL works on frozen processes (unlike in v1), and a cgroup
//! below that was frozen before needs no care.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst "cgroup.freeze"; kernel/cgroup/freezer.c. Linux
//! 5.2.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::control_files::ControlFiles;
use super::signal::by_number;
use super::{Fallback, KillError, KillReport, Killer, Step, sweep};
use crate::MonoNs;
use crate::cgroup::{Census, Cgroup, CgroupError};
use crate::detect::Sources;
use crate::param::{Axis, Unit};
use crate::set::ProcessSet;
use crate::sys::time;

/// How long to wait for `frozen 1`.
pub const FREEZE_WAIT: Axis = Axis {
    name: "freeze-wait",
    unit: Unit::Nanoseconds,
    default: 1_000_000_000,
    kill_default: None,
    doc: "how long a strategy waits for `frozen 1` before it goes on without",
};

/// The kernel's notification of `frozen 1` may itself be held back for 10 to 20 ms, so the state is
/// read again at least this often.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Wait until `cgroup.events` says `frozen 1`.
    pub wait: bool,
    /// Thaw between the walk and the signals.
    pub thaw_first: bool,
}

impl Variant {
    /// Wait until all are held, and thaw when all are signalled: one pass reaches every member.
    pub const HELD: Self = Self {
        wait: true,
        thaw_first: false,
    };
}

/// Freezes, signals every member, thaws. If freezing is refused (`ENOENT` before Linux 5.2,
/// `EACCES`) it kills in a loop, and reports that.
#[derive(Debug)]
pub struct FreezeSweep {
    cgroup: Arc<Cgroup>,
    files: Arc<ControlFiles>,
    variant: Variant,
    patience: Duration,
    phase: Phase,
    done: HashSet<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begin,
    /// Frozen on request; waits for it to be done.
    Holding(MonoNs),
    /// Frozen, as far as the kernel has come.
    Sweeping,
    /// Freezing was refused.
    Looping,
    Over,
}

impl FreezeSweep {
    /// Opens what it needs.
    pub fn prepare(set: &ProcessSet, variant: Variant) -> Result<Self, CgroupError> {
        Ok(Self::with(set, Arc::new(ControlFiles::of(set)?), variant))
    }

    /// With files that have been opened.
    pub fn with(set: &ProcessSet, files: Arc<ControlFiles>, variant: Variant) -> Self {
        Self {
            cgroup: set.cgroup().clone(),
            files,
            variant,
            patience: Duration::from_nanos(set.param(&FREEZE_WAIT)),
            phase: Phase::Begin,
            done: HashSet::new(),
        }
    }

    /// Resets it for another round.
    pub(super) fn again(&mut self) {
        self.phase = Phase::Begin;
        self.done.clear();
    }

    fn thaw(&mut self) -> Result<(), CgroupError> {
        let frozen = matches!(self.phase, Phase::Holding(_) | Phase::Sweeping);
        self.phase = Phase::Over;
        if frozen {
            self.files.freeze(false)
        } else {
            Ok(())
        }
    }

    /// Asks to freeze.
    fn begin(&mut self, now: MonoNs, report: &mut KillReport) -> Result<(), CgroupError> {
        self.phase = match self.files.freeze(true) {
            Ok(()) if self.variant.wait => Phase::Holding(now + self.patience),
            Ok(()) => Phase::Sweeping,
            Err(CgroupError::Sys(e)) if refused(e.errno) => {
                report.fall_back(Fallback::DidNotFreeze(e));
                Phase::Looping
            }
            Err(e) => return Err(e),
        };
        Ok(())
    }

    /// One pass; thaws and ends when it has found no new member.
    fn sweep(&mut self, report: &mut KillReport) -> Result<Step, CgroupError> {
        if sweep::pass(&self.cgroup, Signal::SIGKILL, &mut self.done, report)? > 0 {
            return Ok(Step::Again(MonoNs(0)));
        }
        self.thaw()?;
        if report.held_ns.is_none() {
            // A member may have been in the middle of a fork during the last walk. One more, now
            // that it has come to an end.
            sweep::pass(&self.cgroup, Signal::SIGKILL, &mut HashSet::new(), report)?;
        }
        Ok(Step::Issued)
    }

    /// One walk, the thaw, and signals by number: programs that thaw first do it in this order.
    fn walk_thaw_kill(&mut self, report: &mut KillReport) -> Result<Step, CgroupError> {
        let census = Census::deep(&self.cgroup)?;
        report.passes += 1;
        report.foreign = census.foreign;
        self.thaw()?;
        for pid in census.pids {
            by_number(report, pid, Signal::SIGKILL);
        }
        Ok(Step::Issued)
    }
}

impl Killer for FreezeSweep {
    fn sources(&self) -> Sources<'_> {
        match self.phase {
            Phase::Holding(_) => Sources::none().priority(self.files.events()),
            _ => Sources::none(),
        }
    }

    fn step(&mut self, now: MonoNs, report: &mut KillReport) -> Result<Step, KillError> {
        if self.phase == Phase::Begin {
            self.begin(now, report)?;
        }
        if let Phase::Holding(until) = self.phase {
            if self.files.events().read()?.frozen {
                report.held_ns = Some(time::now().0);
            } else if now < until {
                return Ok(Step::Again((now + LOOK).min(until)));
            } else {
                report.fall_back(Fallback::DidNotWaitForFrozen);
            }
            self.phase = Phase::Sweeping;
        }
        Ok(match self.phase {
            Phase::Sweeping if self.variant.thaw_first => self.walk_thaw_kill(report)?,
            Phase::Sweeping => self.sweep(report)?,
            Phase::Looping if self.files.events().read()?.populated => {
                // Every member again: a number that was signalled before may belong to a new one by
                // now.
                sweep::pass(&self.cgroup, Signal::SIGKILL, &mut HashSet::new(), report)?;
                Step::Again(MonoNs(0))
            }
            _ => {
                self.phase = Phase::Over;
                Step::Issued
            }
        })
    }

    fn give_up(&mut self, _: &mut KillReport) -> Result<(), KillError> {
        Ok(self.thaw()?)
    }
}

impl Drop for FreezeSweep {
    /// Processes that are left frozen are worse than processes that are left alive.
    fn drop(&mut self) {
        // After an error, which is the one to report.
        match self.thaw() {
            Ok(()) | Err(_) => {}
        }
    }
}

fn refused(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EROFS
    )
}
