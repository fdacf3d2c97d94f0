//! What this machine offers, why not, and how to get it.

mod kernel;

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;

pub use kernel::KernelVersion;

/// Whether a mechanism can be used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It can.
    Available,
    /// It cannot.
    Missing {
        /// Why, with the kernel's answer.
        why: String,
        /// What would make it available here.
        remedy: String,
    },
}

impl Support {
    /// Missing.
    pub fn missing(why: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::Missing {
            why: why.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// Whether it is available.
    pub fn is_available(&self) -> bool {
        *self == Self::Available
    }
}

/// The probe itself failed: neither "available" nor "missing".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A system call.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A cgroup file.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// A directory of this process in a v1 hierarchy, below which it may make its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Dir {
    /// Controller, such as `pids`.
    pub controller: &'static str,
    /// Mount point joined with the process's own cgroup of that hierarchy.
    pub path: PathBuf,
    /// The part below the mount point, without a leading slash (what `cgroups-rs` wants).
    pub relative: PathBuf,
}

/// Where the pids limit of a site comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belts {
    /// Controllers of the v2 hierarchy, enabled for the children of the base.
    V2 {
        /// Whether `memory` is among them.
        memory: bool,
    },
    /// v1 hierarchies of a hybrid machine.
    V1 {
        /// The pids hierarchy.
        pids: V1Dir,
        /// The memory hierarchy, if there is one.
        memory: Option<V1Dir>,
    },
    /// None, and the user has said that this is acceptable. Bombs are refused.
    None,
}

/// The cgroup below which runs make theirs.
#[derive(Debug)]
pub struct Base {
    /// The v2 directory.
    pub cgroup: Cgroup,
    /// Where limits come from.
    pub belts: Belts,
    /// How it was found, in words.
    pub how: String,
    /// What was changed to get it (controllers enabled, the process moved to a leaf): everything beyond own new directories.
    pub changes: Vec<String>,
}

/// This machine and this process, as far as mechanisms care.
#[derive(Debug)]
pub struct Host {
    /// Running kernel.
    pub kernel: KernelVersion,
    /// Effective user id.
    pub euid: u32,
    /// The base, if one was found.
    pub base: Option<Base>,
}
