//! Kill strategies: one file per way to end a tree of processes.
//!
//! A strategy says "issued", never "dead": that is for the oracle to say. It counts what it met (`ESRCH` means that somebody died
//! first) and never signals pid 0 or itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::MonoNs;
use crate::cgroup::CgroupError;
use crate::error::{ErrorRecord, SysError};
use crate::expect::{Canary, Reach};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::param::Axis;
use crate::trial::{Root, Site, SpawnPlan};

/// The facts about a strategy.
#[derive(Clone, Copy, Debug)]
pub struct KillSpec {
    /// Kebab-case; the file's name with `-` for `_`.
    pub id: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// Whom it can reach, and how.
    pub reach: Reach,
    /// Whether it claims to leave nothing alive, whatever the adversary does within its cgroup.
    pub claims_sound: bool,
    /// Kinds of canary that it may hit. A hit of any other kind fails the trial.
    pub may_hit: &'static [Canary],
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

/// One way to end a tree.
pub trait KillStrategy: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static KillSpec;

    /// Whether this machine offers it to this process; if not, why, and how to get it.
    fn probe(&self, host: &Host) -> Result<Support, ProbeError>;

    /// Prepares to kill what will live in `site`, and says through `plan` what the workload's birth needs.
    fn prepare<'t>(&self, site: &'t Site, plan: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError>;
}

/// A strategy that is ready to kill one site.
pub trait Killer: fmt::Debug + Send {
    /// Called once, right after the workload's main process was started: to seize it, to open a gate. Most have nothing to do.
    fn attach(&mut self, root: &Root) -> Result<(), KillError>;

    /// Issues the kill. Returns when it has nothing more to do, or at `deadline`.
    fn kill(&mut self, root: &Root, deadline: MonoNs) -> Result<KillReport, KillError>;
}

/// What a strategy did.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KillReport {
    /// Just before the first signal (or write that signals).
    pub first_signal_ns: u64,
    /// After the last one.
    pub last_signal_ns: u64,
    /// When the strategy had nothing more to do.
    pub issued_ns: u64,
    /// Signals sent one by one. A write to `cgroup.kill` counts as one.
    pub signals: u64,
    /// Passes over the members.
    pub passes: u64,
    /// Signals answered with `ESRCH`: somebody died first.
    pub esrch: u64,
    /// Members that could not be named (pid 0) and were not signalled.
    pub foreign: u64,
    /// Whether it gave up at the deadline.
    pub gave_up: bool,
    /// What it did instead of what its name says, and why. Never silent.
    pub fallback: Option<String>,
    /// Other errors it met and went on.
    pub errors: Vec<ErrorRecord>,
}

impl KillReport {
    /// Begins a report: the first signal is about to be sent.
    pub fn begin() -> Self {
        Self {
            first_signal_ns: crate::sys::time::now().0,
            ..Self::default()
        }
    }

    /// Notes that a signal (or a write that signals) was sent or answered with `ESRCH`.
    pub fn sent(&mut self, answer: Result<(), nix::errno::Errno>, pid: i32) {
        self.last_signal_ns = crate::sys::time::now().0;
        match answer {
            Ok(()) => self.signals += 1,
            Err(nix::errno::Errno::ESRCH) => self.esrch += 1,
            Err(errno) => self.errors.push((&SysError::pid("signal", pid, errno)).into()),
        }
    }

    /// Ends a report: nothing more to do.
    pub fn issued(mut self) -> Self {
        self.issued_ns = crate::sys::time::now().0;
        self
    }
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
}

/// All strategies, sorted by id.
pub static STRATEGIES: &[&dyn KillStrategy] = &[];

/// Finds one by its id.
pub fn by_id(id: &str) -> Option<&'static dyn KillStrategy> {
    STRATEGIES.iter().copied().find(|s| s.spec().id == id)
}
