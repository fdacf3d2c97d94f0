//! Kill strategies: ways to end a set of processes. One file each.
//!
//! A strategy says "issued", never "dead": only a detector decides that. It counts the answers of
//! the kernel (`ESRCH` means that a process died first) and never signals pid 0 or itself.
//!
//! A [`Killer`] acts in steps, so that a loop of one's own can do other things in between: sleep on
//! its sources until the time that the last [`Step`] names, then call `step` again. No step sleeps,
//! but one system call may take long in the kernel: a write to `cgroup.kill` or `cgroup.freeze`
//! waits for `cgroup_mutex`, which has been seen to be held for seconds. A loop that must not wait
//! for that puts the killer into an [`InThread`].

pub mod cgroup_kill;
mod cgroup_kill_sweep;
mod control_files;
mod fallback;
pub mod freeze;
mod freeze_kill;
mod in_thread;
mod report;
pub mod signal;
pub mod sweep;
mod term_grace_kill;

use std::fmt;

use thiserror::Error;

use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::detect::Sources;
use crate::detect::sleep::Slept;
use crate::effects::Effects;
use crate::error::SysError;
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::param::Axis;
use crate::scope::{Bystander, Reach};
use crate::set::ProcessSet;
use crate::spawn::{Child, SpawnOptions};
use crate::sys::time::now;

pub use cgroup_kill::CgroupKill;
pub use cgroup_kill_sweep::CgroupKillSweep;
pub use control_files::{ControlFiles, OPEN_LATE};
pub use fallback::Fallback;
pub use freeze_kill::FreezeKill;
pub use in_thread::InThread;
pub use report::KillReport;
pub(crate) use term_grace_kill::GRACE;
pub use term_grace_kill::TermGraceKill;

/// The facts about a strategy.
#[derive(Clone, Copy, Debug)]
pub struct KillSpec {
    /// Kebab-case; the file's name with `-` for `_`.
    pub id: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// Which processes it can reach, and how.
    pub reach: Reach,
    /// Whether it claims to leave nothing alive, whatever the adversary does within its cgroup.
    pub claims_sound: bool,
    /// Processes outside the set that it may hit.
    pub may_hit: &'static [Bystander],
    /// What it changes in the process that uses it.
    pub effects: Effects,
    /// First kernel that has everything it needs.
    pub since: KernelVersion,
    /// What a process needs to be allowed to use it, beyond a cgroup of its own. Empty: nothing.
    pub privilege: &'static str,
    /// How it can fail, as far as is known.
    pub faults: &'static str,
    /// Man page sections, kernel files and commits.
    pub sources: &'static [&'static str],
    /// What can be varied.
    pub axes: &'static [Axis],
}

/// One way to end a set.
pub trait KillStrategy: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static KillSpec;

    /// Whether this machine offers it to this process; if not, why, and how to get it.
    fn probe(&self, host: &Host) -> Result<Support, ProbeError>;

    /// Prepares to kill the members that `set` will have, and says through `spawn` what the
    /// program's birth needs. The files that the kill writes to are opened here:
    /// [`ControlFile`](crate::cgroup::ControlFile) says what it may cost later.
    fn prepare(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn Killer>, KillError>;
}

/// A strategy that is ready to kill one set. It is owned and can be moved to another thread.
pub trait Killer: fmt::Debug + Send + 'static {
    /// Called once, right after the program was started: to open a gate, to keep its descriptor.
    /// Most have nothing to do.
    fn attach(&mut self, _child: &Child) -> Result<(), KillError> {
        Ok(())
    }

    /// What to sleep on before the next step.
    fn sources(&self) -> Sources<'_> {
        Sources::none()
    }

    /// Does what can be done now, and notes it in `report`. Not called again after
    /// [`Step::Issued`].
    fn step(&mut self, now: MonoNs, report: &mut KillReport) -> Result<Step, KillError>;

    /// The deadline has passed, no more steps follow: undoes what must not stay (a frozen cgroup).
    fn give_up(&mut self, _report: &mut KillReport) -> Result<(), KillError> {
        Ok(())
    }

    /// Issues the kill: steps and sleeps in turn until it has nothing more to do, or `deadline` has
    /// passed.
    fn kill(&mut self, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        drive(self, deadline, &mut report)?;
        Ok(report.issued())
    }
}

/// What a step has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the kill is issued.
    Issued,
    /// More, when a source is ready or this time has come. A time that has passed: at once.
    Again(MonoNs),
}

/// Steps and sleeps in turn, as [`Killer::kill`] does, within a report that has been begun.
pub fn drive<K: Killer + ?Sized>(
    killer: &mut K,
    deadline: MonoNs,
    report: &mut KillReport,
) -> Result<(), KillError> {
    let mut woke = now();
    loop {
        let Step::Again(at) = killer.step(woke, report)? else {
            return Ok(());
        };
        woke = now();
        if woke < at {
            woke = match killer.sources().sleep(at.min(deadline))? {
                Slept::Woken(at) => at,
                Slept::Deadline => now(),
            };
        }
        if woke >= deadline {
            report.gave_up = true;
            return killer.give_up(report);
        }
    }
}

/// One way to end a set that can only block.
pub trait BlockingStrategy: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static KillSpec;

    /// As [`KillStrategy::probe`].
    fn probe(&self, host: &Host) -> Result<Support, ProbeError>;

    /// As [`KillStrategy::prepare`].
    fn prepare(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError>;
}

/// A blocking strategy that is ready to kill one set.
pub trait BlockingKiller: fmt::Debug + Send + 'static {
    /// As [`Killer::attach`].
    fn attach(&mut self, _child: &Child) -> Result<(), KillError> {
        Ok(())
    }

    /// Issues the kill. Returns when it has nothing more to do, or at `deadline`.
    fn kill(&mut self, child: &Child, deadline: MonoNs) -> Result<KillReport, KillError>;
}

/// A strategy could not be set up, or could not even begin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KillError {
    /// A system call.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A cgroup file.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// It would hit, or depend on, something that this place does not keep apart.
    #[error("{strategy} is refused: {why}")]
    Refused {
        /// Strategy id.
        strategy: &'static str,
        /// Why.
        why: String,
    },
    /// A library that is measured off the shelf.
    #[error("{library}: {answer}")]
    Library {
        /// Which.
        library: &'static str,
        /// What it said.
        answer: String,
    },
}

impl crate::error::Reason for KillError {
    fn errno(&self) -> Option<nix::errno::Errno> {
        match self {
            Self::Sys(e) => Some(e.errno),
            Self::Cgroup(e) => e.errno(),
            Self::Refused { .. } | Self::Library { .. } => None,
        }
    }
}

/// Sends SIGKILL once to every process listed in `cgroup` and below, to each as a process and not
/// to its first thread: for what a write to `cgroup.kill` has left alive. Outsiders with reused
/// numbers are spared.
pub fn kill_members_once(cgroup: &Cgroup) -> Result<(), CgroupError> {
    let (mut done, mut report) = (std::collections::HashSet::new(), KillReport::begin());
    sweep::pass(
        cgroup,
        nix::sys::signal::Signal::SIGKILL,
        &mut done,
        &mut report,
    )
    .map(|_| ())
}

/// The strategies of this crate, sorted by id.
pub static STRATEGIES: &[&dyn KillStrategy] =
    &[&CgroupKill, &CgroupKillSweep, &FreezeKill, &TermGraceKill];

/// The strategy to take if there is no reason for another: one write to `cgroup.kill`, in the
/// kernel's hands, forks in progress included, and nothing else hit; and if a process is left, a
/// sweep. A process that has lost its first thread is left by kernels with a bug.
pub static RECOMMENDED: &dyn KillStrategy = &CgroupKillSweep;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strategies_are_sorted_and_harmless() {
        let ids: Vec<&str> = STRATEGIES.iter().map(|s| s.spec().id).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for spec in STRATEGIES.iter().map(|s| s.spec()) {
            assert!(
                spec.effects.are_harmless() && spec.claims_sound && spec.may_hit.is_empty(),
                "{}",
                spec.id
            );
            let file = format!(
                "{}/src/kill/{}.rs",
                env!("CARGO_MANIFEST_DIR"),
                spec.id.replace('-', "_")
            );
            assert!(std::path::Path::new(&file).exists(), "{file}");
        }
    }
}
