//! What this machine offers, why not, and how to get it.

pub(crate) mod another_user;
pub mod base;
pub mod bugs;
mod candidate;
pub mod delegation;
pub mod environment;
pub mod features;
mod journal;
mod kconfig;
pub mod leftovers;
pub mod limits;
pub mod name;
pub mod named;
mod probes;
mod remedy;
mod remove;
pub mod rerun;
mod subject;

use thiserror::Error;

use allgone::host::mountinfo;

use self::delegation::Delegation;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::{SysError, Target};

pub use allgone::host::{
    Capabilities, CgroupMount, Hierarchy, KernelVersion, Layout, LayoutError, OwnCgroup, Paths, ProbeError, Support,
    V1Dir, mounts,
};
pub use base::{Found, NoBase, Options};
pub use candidate::Refusal;
pub(crate) use candidate::in_child;
pub use delegation::LEAF;
pub use journal::Journal;
pub(crate) use name::{foreign_proc, probe_name};
pub use name::{is_alive, run_name};
pub use rerun::Rerun;

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
    /// What was not had and is not needed, with the reason: a memory limit, for example.
    pub notes: Vec<String>,
    delegation: Delegation,
}

impl Base {
    /// A base as it stands, for tests that bring their own cgroup.
    pub fn given(cgroup: Cgroup, belts: Belts) -> Self {
        Self {
            cgroup,
            belts,
            how: "given".to_owned(),
            changes: Vec::new(),
            notes: Vec::new(),
            delegation: Delegation::default(),
        }
    }

    /// Takes back what [`Base::changes`] lists, once all runs below are removed. Returns what could not be taken back.
    pub fn undo(&mut self) -> Vec<CgroupError> {
        self.delegation.undo()
    }
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
    /// Where cgroups are mounted and this process is in them, before it was moved to a leaf.
    pub layout: Layout,
    /// The base, if one was found.
    pub base: Option<Base>,
    /// Why none was found.
    pub no_base: Option<NoBase>,
}

/// This process and its machine, or the way to a better place.
#[derive(Debug)]
pub enum Detected {
    /// What there is, with or without a base.
    Host(Box<Host>),
    /// The program has to be run again: say why on standard error, then execute the command.
    Rerun(Box<Rerun>),
}

/// The machine could not even be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostError {
    /// Mounts or own cgroups.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A system call or a file of `/proc`.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// `/proc` shows another PID namespace than this process is in, so no number in it means what it means here.
    #[error(
        "/proc belongs to another PID namespace ({why}): mount it anew (`unshare --mount-proc`, or `mount -t proc proc /proc` in a mount \
         namespace of your own)"
    )]
    ForeignProc {
        /// What shows it.
        why: String,
    },
    /// The kernel's release is no version.
    #[error("could not understand the kernel's release {0:?}")]
    Release(String),
}

/// An error if `/proc` shows another PID namespace than this process's: nothing that is looked up there by number means what it says.
pub fn check_proc() -> Result<(), HostError> {
    name::foreign_proc()?.map_or(Ok(()), |why| Err(HostError::ForeignProc { why }))
}

impl Host {
    /// Looks at the machine and searches for a base. Having none is a fact ([`Host::no_base`]) and not an error.
    pub fn detect(options: &Options) -> Result<Detected, HostError> {
        let mut host = Self::without_base(&options.paths)?;
        match base::find(options, &host.layout, host.euid) {
            Ok(Found::Here(base)) => host.base = Some(*base),
            Ok(Found::Rerun(rerun)) => return Ok(Detected::Rerun(rerun)),
            Err(no_base) => host.no_base = Some(no_base),
        }
        Ok(Detected::Host(Box::new(host)))
    }

    /// Looks at the machine without searching for a base and without touching anything.
    pub fn without_base(paths: &Paths) -> Result<Self, HostError> {
        check_proc()?;
        let name = nix::sys::utsname::uname().map_err(|e| SysError::plain("uname", e))?;
        let release = name.release().to_string_lossy().into_owned();
        let status = paths.file("/proc/self/status");
        let text = std::fs::read_to_string(&status).map_err(|e| SysError::io("read", Target::Path(status), &e))?;
        Ok(Self {
            kernel: KernelVersion::parse(&release).ok_or_else(|| HostError::Release(release.clone()))?,
            release,
            euid: nix::unistd::geteuid().as_raw(),
            capabilities: Capabilities::parse(&text).unwrap_or_default(),
            layout: Layout::read(paths)?,
            base: None,
            no_base: None,
        })
    }
}
