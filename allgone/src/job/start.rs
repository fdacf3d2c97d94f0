//! The interface between a job and the process that starts its first process: the host itself
//! (`own.rs`), or another process on its behalf.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::unistd::Pid;

use super::effects::JobEffects;
use super::error::StartError;
use crate::MonoNs;
use crate::base::Base;
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::spawn::Request;
use crate::sys::spawn::Entry;
use crate::sys::wait::{Change, Usage};

/// Starts the first process of a job. Shared by all jobs of a base.
pub trait Starter: fmt::Debug + Send + Sync + 'static {
    /// What using it means for the host.
    fn effects(&self) -> JobEffects;

    /// A name for a job's cgroup below `base` that nothing else has.
    fn child_name(&self, base: &Base) -> Result<String, SysError>;

    /// Starts `request` in `cgroup`, which is fresh, empty and the job's own. Returns when the
    /// program is executed or it is known why it is not, within ten seconds.
    ///
    /// After an error a kill of `cgroup` ends everything that is left of the attempt.
    fn start(&self, cgroup: &Cgroup, request: &Request<'_>) -> Result<Started, StartError>;
}

/// A first process that has executed its program.
#[derive(Debug)]
pub struct Started {
    /// Its number in the host's PID namespace.
    pub pid: Pid,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// How it came into its cgroup.
    pub entry: Entry,
    /// The reports about it.
    pub main: Box<dyn Main>,
}

/// The reports about a first process from its parent.
pub trait Main: fmt::Debug + Send + 'static {
    /// One descriptor for its whole life, readable when [`Main::hear`] has something to report.
    fn source<'a>(&'a self, pidfd: BorrowedFd<'a>) -> BorrowedFd<'a>;

    /// Returns one report that has not been returned yet. Never sleeps.
    fn hear(&mut self, pidfd: BorrowedFd<'_>) -> Heard;

    /// Reaps the first process, whose end was reported, if that is for this process to do. Apart
    /// from the report, because it takes longer than to look whether others live.
    fn release(&mut self, _pidfd: BorrowedFd<'_>) {}

    /// Whether it returns [`Heard::Look`] when a process other than the first ends.
    fn hints(&self) -> bool;
}

/// One report.
#[derive(Debug)]
pub enum Heard {
    /// Nothing new.
    Nothing,
    /// A process of the job has ended: `populated` should be read.
    Look,
    /// The first process has ended. Reported once.
    Ended(MainEnd),
    /// Its parent is gone, or something else has reaped it: how it ended will not be known. Said
    /// once, and nothing after it.
    Lost(SysError),
}

/// The end of a first process.
#[derive(Clone, Copy, Debug)]
pub struct MainEnd {
    /// How it ended.
    pub change: Change,
    /// What it and its reaped children have used, if its parent knows.
    pub usage: Option<Usage>,
    /// When that was known.
    pub at: MonoNs,
}
