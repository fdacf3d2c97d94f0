//! Why a place or a mechanism is not usable.

use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use crate::cgroup::CgroupError;
use crate::error::SysError;
use crate::layout::NotVisible;

/// Why a cgroup does not qualify as a base, or why a process could not be started for a probe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The kernel refused an operation on a cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// There is no such directory to try.
    #[error(transparent)]
    NotVisible(#[from] NotVisible),
    /// Another file system.
    #[error("{0} is not in a cgroup v2 hierarchy")]
    NotCgroup2(PathBuf),
    /// Mounted read-only.
    #[error("{0} is mounted read-only")]
    ReadOnly(PathBuf),
    /// No limit on tasks.
    #[error("no pids limit can be had for its children: {0}")]
    NoPids(String),
    /// Controllers would have to be enabled, and may not or cannot.
    #[error("its pids controller is not enabled for children: {0}")]
    NotDelegated(String),
    /// A process could not be started, or could not enter a child of the cgroup.
    #[error("a process could not be started there: {step}: {errno}")]
    Entry {
        /// What was tried.
        step: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A process was killed before it ran: on kernels from 6.14 on that lack 8e3599202166, this
    /// happens to every child of a process in a cgroup that was killed before.
    #[error(
        "a process that was born in {0} was killed at once: own cgroup was killed earlier, \
         and this kernel has the bug fixed by 8e3599202166"
    )]
    KilledAtBirth(PathBuf),
    /// Another reason, in words.
    #[error("{0}")]
    Other(String),
}

impl Refusal {
    /// The kernel's answer, if that is what went wrong.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Sys(e) => Some(e.errno),
            Self::Cgroup(e) => e.errno(),
            Self::Entry { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}
