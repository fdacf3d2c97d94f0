//! Errors that end a run. A trial that breaks is a record, not one of these.

use std::path::PathBuf;

use allgone::limits::LimitError;
use nix::errno::Errno;
use thiserror::Error;

use crate::cgroup::CgroupError;
use crate::error::{Reason, SysError};
use crate::host::{HostError, ProbeError};

/// The run cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrialError {
    /// A system call.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A cgroup file.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A limit around a trial.
    #[error("could not limit a trial: {0}")]
    Limit(#[from] LimitError),
    /// Own cgroups.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The attempt to give actors a user of their own failed.
    #[error("could not find out which user actors can have: {0}")]
    Probe(#[source] ProbeError),
    /// The workload's program cannot be executed by the actors' user.
    #[error(
        "{program} cannot be executed by the user that the workload would have ({user}): {step}: \
            {errno}; make it executable for all users (chmod a+rx), or copy it to a place that \
            is not mounted noexec"
    )]
    NotExecutable {
        /// The program.
        program: PathBuf,
        /// User id.
        user: u32,
        /// What failed.
        step: &'static str,
        /// What the kernel answered.
        errno: nix::errno::Errno,
    },
    /// The process has threads, so it cannot fork observers that go on in Rust.
    #[error(
        "this process has {0} threads; a run forks helpers that do not exec and needs exactly one"
    )]
    Threads(usize),
    /// A guard was killed, from outside or by the OOM killer.
    #[error(
        "a guard of this run (process {0}) was killed, so the run was ended: nothing would have \
            ended it if the harness had died next"
    )]
    Guard(i32),
    /// A canary was killed from outside while the trial was being set up.
    #[error("a canary ended before it was set up, and so before the strategy's first act")]
    Canary,
    /// Guards find what they remove by its name.
    #[error("the run's name {0:?} does not begin with the name that is protected")]
    Unprotected(String),
    /// All user ids for actors are in use.
    #[error(
        "processes have all user ids from {0} to {1}, and actors need an unused one: end other \
            runs first"
    )]
    Users(u32, u32),
    /// A hostile scenario and no limit.
    #[error(
        "scenario {0} can exhaust the machine and there is no pids limit to hold it: see `scenario \
            doctor`, or override with --no-limits"
    )]
    NoBelt(String),
    /// Something of a trial could not be removed.
    #[error("could not empty and remove {path} (tried for {seconds} s): {why}; `scenario clean` \
        tries again", path = path.display())]
    Stuck {
        /// The cgroup.
        path: PathBuf,
        /// How long it was tried.
        seconds: u64,
        /// What the kernel answered last, or which processes are left.
        why: String,
    },
}

impl Reason for TrialError {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Sys(e) => Some(e.errno),
            Self::Cgroup(e) => e.errno(),
            Self::Limit(e) => e.errno(),
            Self::NotExecutable { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}
