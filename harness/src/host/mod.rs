//! What this machine offers, what is missing and why, and how to get it.

pub(crate) mod another_user;
pub mod base;
pub mod bugs;
pub mod delegation;
pub mod environment;
pub mod features;
mod journal;
mod kconfig;
pub mod leftovers;
pub mod name;
pub mod named;
mod probes;
pub mod rerun;

use std::ops::Deref;

use allgone::host::Host as Machine;

use self::delegation::Delegation;
use crate::cgroup::CgroupError;

pub use allgone::base::{Base, NoBase, Refusal};
pub use allgone::host::{Capabilities, HostError, KernelVersion, ProbeError, Support};
pub use allgone::layout::{
    CgroupMount, Hierarchy, Layout, LayoutError, OwnCgroup, Paths, V1Dir, mountinfo,
};
pub use allgone::limits::LimitSource;
pub use base::{Found, Held, Options};
pub use delegation::LEAF;
pub use journal::Journal;
pub(crate) use name::{foreign_proc, probe_name};
pub use name::{is_alive, run_name};
pub use rerun::Rerun;

/// This machine and this process, and the base that was found.
#[derive(Debug)]
pub struct Host {
    /// What mechanisms are probed on, with the base if one was found.
    pub machine: Machine,
    /// Why none was found.
    pub no_base: Option<NoBase>,
    /// What was changed to get a base that only a program may do that is alone in its cgroup.
    pub delegation: Delegation,
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
    /// This machine, with or without a base.
    Host(Box<Host>),
    /// The program has to be run again: say why on standard error, then execute the command.
    Rerun(Box<Rerun>),
}

/// Runs `trial` on a new child of `cgroup`, and removes it with its members.
pub(crate) fn in_child<T, E: From<CgroupError> + From<crate::SysError>>(
    cgroup: &crate::cgroup::Cgroup,
    trial: impl FnOnce(&crate::cgroup::Cgroup) -> Result<T, E>,
) -> Result<T, E> {
    allgone::probe::in_child(cgroup, &probe_name()?, trial)
}

/// An error if `/proc` shows another PID namespace than this process's: pids looked up there would
/// mean other processes.
pub fn check_proc() -> Result<(), HostError> {
    name::foreign_proc()?.map_or(Ok(()), |why| Err(HostError::ForeignProc { why }))
}

impl Host {
    /// Reads the facts about the machine and searches for a base. Having none is a fact
    /// ([`Host::no_base`]) and not an error.
    pub fn detect(options: &Options) -> Result<Detected, HostError> {
        let mut host = Self::without_base(&options.paths)?;
        match base::find(options, &host.layout, host.euid) {
            Ok(Found::Here(held)) => {
                host.machine.base = Some(held.base);
                host.delegation = held.delegation;
            }
            Ok(Found::Rerun(rerun)) => return Ok(Detected::Rerun(rerun)),
            Err(no_base) => host.no_base = Some(no_base),
        }
        Ok(Detected::Host(Box::new(host)))
    }

    /// Reads the facts about the machine, without searching for a base and without changing
    /// anything.
    pub fn without_base(paths: &Paths) -> Result<Self, HostError> {
        check_proc()?;
        Ok(Self {
            machine: Machine::look(paths)?,
            no_base: None,
            delegation: Delegation::default(),
        })
    }

    /// What was changed to get the base, beyond own new directories: the process moved to a leaf,
    /// controllers enabled.
    pub fn changes(&self) -> Vec<String> {
        let mut changes = self.delegation.lines();
        changes.extend(self.base.iter().flat_map(|base| base.changes().to_vec()));
        changes
    }

    /// Takes back what [`Host::changes`] lists, once all runs below are removed. Returns what could
    /// not be taken back.
    pub fn give_back(&mut self) -> Vec<CgroupError> {
        let base = self.machine.base.take();
        let mut failed = base.map_or_else(Vec::new, Base::close);
        failed.extend(self.delegation.undo());
        failed
    }
}
