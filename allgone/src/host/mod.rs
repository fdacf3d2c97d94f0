//! Where the cgroup hierarchies of this machine are mounted, and what this process may do.

mod capability;
mod kernel;
pub mod mountinfo;
pub mod mounts;
mod paths;

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::cgroup::CgroupError;
use crate::error::SysError;

pub use capability::Capabilities;
pub use kernel::KernelVersion;
pub use mountinfo::{CgroupMount, Hierarchy, LayoutError, OwnCgroup};
pub use mounts::Layout;
pub use paths::Paths;

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
