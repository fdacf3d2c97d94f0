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
pub(crate) mod scratch;

use self::delegation::Delegation;
use crate::cgroup::CgroupError;

pub use allgone::base::{Base, NoBase, Refusal};
pub use allgone::host::{Capabilities, Host, HostError, KernelVersion, ProbeError, Support};
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

/// This machine and this process with the base that was found, and what was changed to get it.
#[derive(Debug)]
pub struct Surveyed {
    /// What mechanisms are probed on, with the base if one was found.
    pub host: Host,
    /// Why none was found.
    pub no_base: Option<NoBase>,
    /// What was changed to get a base that only a program may do that is alone in its cgroup.
    pub delegation: Delegation,
}

/// This process and its machine, or the way to a better place.
#[derive(Debug)]
pub enum Detected {
    /// What there is, with or without a base.
    Here(Box<Surveyed>),
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

/// Looks at the machine without searching for a base and without touching anything.
pub fn look(paths: &Paths) -> Result<Host, HostError> {
    check_proc()?;
    let mut host = Host::look(paths)?;
    host.prefix = name::PREFIX;
    Ok(host)
}

/// Looks at the machine and searches for a base. Having none is a fact ([`Surveyed::no_base`]) and
/// not an error.
pub fn detect(options: &Options) -> Result<Detected, HostError> {
    let mut here = Surveyed {
        host: look(&options.paths)?,
        no_base: None,
        delegation: Delegation::default(),
    };
    match base::find(options, &here.host.layout, here.host.euid) {
        Ok(Found::Here(held)) => {
            here.host.base = Some(held.base);
            here.delegation = held.delegation;
        }
        Ok(Found::Rerun(rerun)) => return Ok(Detected::Rerun(rerun)),
        Err(no_base) => here.no_base = Some(no_base),
    }
    Ok(Detected::Here(Box::new(here)))
}

impl Surveyed {
    /// What was changed to get the base, beyond own new directories: the process moved to a leaf,
    /// controllers enabled.
    pub fn changes(&self) -> Vec<String> {
        let mut changes = self.delegation.lines();
        changes.extend(
            self.host
                .base
                .iter()
                .flat_map(|base| base.changes().to_vec()),
        );
        changes
    }

    /// Takes back what [`Surveyed::changes`] lists, once all runs below are removed. Returns what
    /// could not be taken back.
    pub fn give_back(&mut self) -> Vec<CgroupError> {
        let base = self.host.base.take();
        let mut failed = base.map_or_else(Vec::new, Base::close);
        failed.extend(self.delegation.undo());
        failed
    }
}
