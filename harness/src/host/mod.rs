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

use std::ops::Deref;

use allgone::host::{Host as Machine, mountinfo};

use self::delegation::Delegation;
use crate::cgroup::{Cgroup, CgroupError};

pub use allgone::host::{
    Capabilities, CgroupMount, Hierarchy, HostError, KernelVersion, Layout, LayoutError,
    LimitSource, OwnCgroup, Paths, ProbeError, Support, V1Dir, mounts,
};
pub use base::{Found, NoBase, Options};
pub use candidate::Refusal;
pub use delegation::LEAF;
pub use journal::Journal;
pub(crate) use name::{foreign_proc, probe_name};
pub use name::{is_alive, run_name};
pub use rerun::Rerun;

/// The cgroup below which runs make theirs.
#[derive(Debug)]
pub struct Base {
    /// The v2 directory.
    pub cgroup: Cgroup,
    /// Where limits come from.
    pub limits: LimitSource,
    /// How it was found, in words.
    pub how: String,
    /// What was changed to get it (controllers enabled, the process moved to a leaf): everything
    /// beyond own new directories.
    pub changes: Vec<String>,
    /// What was not had and is not needed, with the reason: a memory limit, for example.
    pub notes: Vec<String>,
    delegation: Delegation,
}

impl Base {
    /// A base as it stands, for tests that bring their own cgroup.
    pub fn given(cgroup: Cgroup, limits: LimitSource) -> Self {
        Self {
            cgroup,
            limits,
            how: "given".to_owned(),
            changes: Vec::new(),
            notes: Vec::new(),
            delegation: Delegation::default(),
        }
    }

    /// The same cgroup as mechanisms are probed in.
    fn for_probes(&self) -> Result<allgone::host::Base, HostError> {
        Ok(allgone::host::Base {
            cgroup: self.cgroup.try_clone()?,
            limits: self.limits.clone(),
            prefix: run_name()?,
        })
    }

    /// Takes back what [`Base::changes`] lists, once all runs below are removed. Returns what could
    /// not be taken back.
    pub fn undo(&mut self) -> Vec<CgroupError> {
        self.delegation.undo()
    }
}

/// This machine and this process, and the base that was found.
#[derive(Debug)]
pub struct Host {
    /// What mechanisms are probed on.
    pub machine: Machine,
    /// The base, if one was found.
    pub base: Option<Base>,
    /// Why none was found.
    pub no_base: Option<NoBase>,
}

impl Deref for Host {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

/// This process and its machine, or the way to a better place.
#[derive(Debug)]
pub enum Detected {
    /// What there is, with or without a base.
    Host(Box<Host>),
    /// The program has to be run again: say why on standard error, then execute the command.
    Rerun(Box<Rerun>),
}

/// An error if `/proc` shows another PID namespace than this process's: nothing that is looked up
/// there by number means what it says.
pub fn check_proc() -> Result<(), HostError> {
    name::foreign_proc()?.map_or(Ok(()), |why| Err(HostError::ForeignProc { why }))
}

impl Host {
    /// Looks at the machine and searches for a base. Having none is a fact ([`Host::no_base`]) and
    /// not an error.
    pub fn detect(options: &Options) -> Result<Detected, HostError> {
        let mut host = Self::without_base(&options.paths)?;
        match base::find(options, &host.layout, host.euid) {
            Ok(Found::Here(base)) => {
                host.machine.base = Some(base.for_probes()?);
                host.base = Some(*base);
            }
            Ok(Found::Rerun(rerun)) => return Ok(Detected::Rerun(rerun)),
            Err(no_base) => host.no_base = Some(no_base),
        }
        Ok(Detected::Host(Box::new(host)))
    }

    /// Looks at the machine without searching for a base and without touching anything.
    pub fn without_base(paths: &Paths) -> Result<Self, HostError> {
        check_proc()?;
        Ok(Self {
            machine: Machine::look(paths)?,
            base: None,
            no_base: None,
        })
    }
}
