//! Where the cgroup hierarchies of this machine are mounted, and what this process may do.

mod capability;
pub mod features;
mod kernel;
pub mod probe;

use std::fmt;

use thiserror::Error;

use crate::base::{Base, PREFIX};
use crate::cgroup::CgroupError;
use crate::error::{SysError, Target};
use crate::layout::{Layout, LayoutError, Paths};

pub use capability::Capabilities;
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

/// This machine and this process, as far as mechanisms care.
#[derive(Debug)]
pub struct Host {
    /// Running kernel.
    pub kernel: KernelVersion,
    /// Its release string.
    pub release: String,
    /// Effective user id.
    pub euid: u32,
    /// Effective capabilities.
    pub capabilities: Capabilities,
    /// Where cgroups are mounted, and in which of them this process is.
    pub layout: Layout,
    /// The base, if there is one.
    pub base: Option<Base>,
    /// How the names begin of what is made to try something where there is no base.
    pub prefix: &'static str,
}

/// The facts about the machine could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostError {
    /// Mounts or own cgroups.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A system call or a file of `/proc`.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// `/proc` shows another PID namespace than this process is in, so no process id in it is valid
    /// here.
    #[error(
        "/proc belongs to another PID namespace ({why}): mount it anew (`unshare --mount-proc`, or \
            `mount -t proc proc /proc` in a mount namespace of your own)"
    )]
    ForeignProc {
        /// What shows it.
        why: String,
    },
    /// A cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The kernel's release is no version.
    #[error("could not understand the kernel's release {0:?}")]
    Release(String),
}

impl Host {
    /// Reads the facts about the machine and changes nothing. There is no base until one is given.
    pub fn look(paths: &Paths) -> Result<Self, HostError> {
        let name = nix::sys::utsname::uname().map_err(|e| SysError::plain("uname", e))?;
        let release = name.release().to_string_lossy().into_owned();
        let status = paths.file("/proc/self/status");
        let text = std::fs::read_to_string(&status)
            .map_err(|e| SysError::io("read", Target::Path(status), &e))?;
        Ok(Self {
            kernel: KernelVersion::parse(&release)
                .ok_or_else(|| HostError::Release(release.clone()))?,
            release,
            euid: nix::unistd::geteuid().as_raw(),
            capabilities: Capabilities::parse(&text).unwrap_or_default(),
            layout: Layout::read(paths)?,
            base: None,
            prefix: PREFIX,
        })
    }

    /// The same, with a cgroup below which this process may make others.
    #[must_use]
    pub fn with_base(mut self, base: Base) -> Self {
        self.base = Some(base);
        self
    }
}
