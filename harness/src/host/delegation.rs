//! Making a delegated cgroup give controllers to its children: the only change to a cgroup that a run did not make itself.
//!
//! A cgroup with member processes cannot enable controllers for its children ("no internal process", cgroups(7)), so this process moves
//! itself into a child named `leaf` first. Both steps are listed, and [`Delegation::undo`] takes them back.

use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use super::remove;
use crate::cgroup::{Cgroup, CgroupError};

/// The child that this process moves itself into.
pub const LEAF: &str = "leaf";

/// Controllers could not be had for the children of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EnableError {
    /// The kernel refused.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Others live there.
    #[error("{path} has {others} member(s) besides this process, so it cannot enable controllers for its children")]
    Members {
        /// The cgroup.
        path: PathBuf,
        /// How many.
        others: usize,
    },
}

/// What was changed.
#[derive(Debug, Default)]
pub struct Delegation {
    at: Option<Cgroup>,
    moved: bool,
    made_leaf: bool,
    enabled: Vec<String>,
}

impl Delegation {
    /// Enables `controllers` for the children of `cgroup`, all or none; `own` says that this process is a member of it.
    pub fn enable(cgroup: &Cgroup, own: bool, controllers: &[&str]) -> Result<Self, EnableError> {
        let mut done = Self {
            at: Some(cgroup.try_clone()?),
            ..Self::default()
        };
        let result = done.steps(cgroup, own, controllers);
        match result {
            Ok(()) => Ok(done),
            Err(e) => {
                // The first error is the one to report; what cannot be undone is seen by whoever lists the cgroup.
                for failed in done.undo() {
                    tracing::warn!(error = %failed, "could not take back a step of delegation");
                }
                Err(e)
            }
        }
    }

    fn steps(&mut self, cgroup: &Cgroup, own: bool, controllers: &[&str]) -> Result<(), EnableError> {
        if own && !is_root(cgroup)? {
            let me = nix::unistd::Pid::this().as_raw();
            let members = cgroup.procs()?;
            let others = members.pids.iter().filter(|pid| **pid != me).count() + members.foreign;
            if others > 0 {
                return Err(EnableError::Members {
                    path: cgroup.path().to_path_buf(),
                    others,
                });
            }
            let leaf = match cgroup.create(LEAF) {
                Ok(leaf) => {
                    self.made_leaf = true;
                    leaf
                }
                // Left by an earlier process in the same scope or container.
                Err(e) if e.errno() == Some(Errno::EEXIST) => cgroup.child(LEAF)?,
                Err(e) => return Err(e.into()),
            };
            leaf.write("cgroup.procs", "0")?;
            self.moved = true;
        }
        for controller in controllers {
            cgroup.write("cgroup.subtree_control", &format!("+{controller}"))?;
            self.enabled.push((*controller).to_owned());
        }
        Ok(())
    }

    /// The changes, one line each.
    pub fn lines(&self) -> Vec<String> {
        let Some(at) = &self.at else {
            return Vec::new();
        };
        let path = at.path().display();
        let mut lines = Vec::new();
        if self.moved {
            lines.push(format!("moved this process from {path} into its child {LEAF}"));
        }
        if !self.enabled.is_empty() {
            lines.push(format!(
                "enabled {} for the children of {path}",
                self.enabled.join(" and ")
            ));
        }
        lines
    }

    /// Takes everything back, in reverse. Returns what could not be taken back; a second call does nothing.
    pub fn undo(&mut self) -> Vec<CgroupError> {
        let Some(at) = self.at.take() else {
            return Vec::new();
        };
        let mut failed = Vec::new();
        for controller in self.enabled.drain(..).rev() {
            failed.extend(at.write("cgroup.subtree_control", &format!("-{controller}")).err());
        }
        if self.moved {
            failed.extend(at.write("cgroup.procs", "0").err());
        }
        if self.made_leaf {
            let deadline = crate::sys::time::now() + remove::GRACE;
            failed.extend(remove::when_empty(&at, LEAF, deadline).err());
        }
        failed
    }
}

/// Whether it is the root of the whole hierarchy, which may have members and controllers: only the root has no `cgroup.type`.
pub(super) fn is_root(cgroup: &Cgroup) -> Result<bool, CgroupError> {
    match cgroup.open_file("cgroup.type", nix::fcntl::OFlag::O_RDONLY) {
        Ok(_) => Ok(false),
        Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(true),
        Err(e) => Err(e),
    }
}
