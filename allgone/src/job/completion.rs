//! How a job ended, and how that is known.

use std::process::ExitStatus;
use std::time::Duration;

use crate::MonoNs;
use crate::error::SysError;
use crate::kill::KillReport;
use crate::survivors::Survivor;
use crate::sys::spawn::Entry;

/// A job is over, or nothing more can be learnt about it.
#[derive(Clone, Debug)]
pub struct Completion {
    /// How the first process ended. An error: that will never be known, because another part of the
    /// program has reaped it (the host ignores `SIGCHLD`), or what had started it is gone.
    pub status: Result<ExitStatus, SysError>,
    /// When the first process was started.
    pub started: MonoNs,
    /// When the end of the first process was known; `None` if it never was.
    pub main_ended: Option<MonoNs>,
    /// When all was known: how the first process ended, and that nobody is left. The first process
    /// is reaped, and the cgroup removed, right after that.
    pub known: MonoNs,
    /// The resources that were used.
    pub usage: Usage,
    /// The mechanisms that started, watched and ended it.
    pub mechanisms: Mechanisms,
    /// Whether everything is gone.
    pub proof: Proof,
}

/// Whether everything of a job is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is: `populated 0` was read, and then the cgroup was removed.
    Removed,
    /// These are alive although they were killed; their cgroup still exists.
    Survivors(Vec<Survivor>),
    /// It is not known, for this reason. One is that another process has removed the cgroup
    /// (`ENODEV`): then it was empty according to the kernel, but that was not observed here.
    Unknown(SysError),
}

impl Proof {
    /// Whether everything is known to be gone.
    pub fn is_removed(&self) -> bool {
        *self == Self::Removed
    }
}

impl Completion {
    /// Whether the first process ended with status 0, and everything is known to be gone.
    pub fn success(&self) -> bool {
        self.proof.is_removed() && self.status.as_ref().is_ok_and(ExitStatus::success)
    }
}

/// What a job has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time, if it is known.
    pub cpu: Option<Cpu>,
    /// The peak of memory, if it is known.
    pub peak_memory: Option<PeakMemory>,
}

/// Processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// Of what.
    pub of: UsageOf,
}

/// A peak of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeakMemory {
    /// Bytes.
    pub bytes: u64,
    /// Of what.
    pub of: UsageOf,
}

/// The processes that a figure covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageOf {
    /// The whole job: `cpu.stat`, `memory.peak` (Linux 5.19) of its cgroup.
    Job,
    /// The first process and the children that it has reaped (`getrusage(2)`): processor time is
    /// their sum, memory the largest of them alone.
    Main,
}

/// The mechanisms that really started, watched and ended a job.
#[derive(Clone, Debug)]
pub struct Mechanisms {
    /// How the first process came into the cgroup.
    pub entry: Entry,
    /// Whether the cgroup had been populated long enough before (a [`Pool`](super::Pool)).
    pub prepopulated: bool,
    /// How the end of the job was noticed.
    pub told_by: ToldBy,
    /// How it was ended, if it was.
    pub ended_by: Option<Ended>,
}

/// How the end of a job was noticed. The proof is a read of `populated` in every case. A job that
/// was killed is no exception: its processes end after the kill, and that is noticed in one of
/// these ways. Of a job that is not known to be gone it says what the last look followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldBy {
    /// The end of the first process, or the loss of its parent: `populated` was 0 when it was
    /// noticed.
    Main,
    /// The process that had started it, when another process ended as the last one.
    Starter,
    /// `cgroup.events`, or a read of it at intervals: `populated` was still 1 when the end of the
    /// first process was noticed. Others lived longer, or the kernel counted it for a moment more
    /// (from 6.19 on).
    Events,
}

/// How a job was ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The strategy, such as `cgroup-kill-sweep`.
    pub strategy: &'static str,
    /// What it did, fallbacks included.
    pub report: KillReport,
}
