//! Making a delegated cgroup give controllers to its children: the only change to a cgroup that a
//! run did not make itself.
//!
//! A cgroup with member processes cannot enable controllers for its children ("no internal
//! process", cgroups(7)), so this process moves itself, and its children that live there, into a
//! child named `leaf` first. Both steps are listed, and [`Delegation::undo`] undoes them.

use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use thiserror::Error;

use super::journal::{Change, Journal, move_all};
use crate::cgroup::{Cgroup, CgroupError};

/// The child that this process moves itself into.
pub const LEAF: &str = "leaf";

/// Controllers could not be enabled for the children of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EnableError {
    /// The kernel refused.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Other processes are members.
    #[error(
        "{path} has {others} member(s) besides this process, so it cannot enable controllers for \
            its children"
    )]
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
    change: Change,
    /// The processes that were moved together with this one.
    children: Vec<i32>,
    journal: Option<Arc<Journal>>,
}

impl Delegation {
    /// Enables `controllers` for the children of `cgroup`, all or none; `own` says that this
    /// process is a member of it. Each step is noted in `journal` before it is made.
    pub fn enable(
        cgroup: &Cgroup,
        own: bool,
        controllers: &[&str],
        journal: Option<Arc<Journal>>,
    ) -> Result<Self, EnableError> {
        let mut done = Self {
            at: Some(cgroup.try_clone()?),
            journal,
            ..Self::default()
        };
        let result = done.steps(cgroup, own, controllers);
        match result {
            Ok(()) => Ok(done),
            Err(e) => {
                // The first error is the one to report; what cannot be undone stays visible in the
                // cgroup.
                for failed in done.undo() {
                    tracing::warn!(error = %failed, "could not undo a step of delegation");
                }
                Err(e)
            }
        }
    }

    fn steps(
        &mut self,
        cgroup: &Cgroup,
        own: bool,
        controllers: &[&str],
    ) -> Result<(), EnableError> {
        self.change.at = cgroup.path().to_path_buf();
        if own && !is_root(cgroup)? {
            let me = nix::unistd::Pid::this().as_raw();
            let members = cgroup.procs()?;
            // The guards of a run are in no cgroup of it, but where this process is.
            let mine = |pid: &i32| crate::proc::stat(*pid).is_ok_and(|stat| stat.ppid == me);
            let (children, rest): (Vec<i32>, Vec<i32>) = members
                .pids
                .into_iter()
                .filter(|pid| *pid != me)
                .partition(mine);
            let others = rest.len() + members.foreign;
            if others > 0 {
                return Err(EnableError::Members {
                    path: cgroup.path().to_path_buf(),
                    others,
                });
            }
            let leaf = match cgroup.child(LEAF) {
                // Left by an earlier process in the same scope or container.
                Ok(leaf) => leaf,
                Err(e) if e.errno() == Some(Errno::ENOENT) => {
                    self.change.made_leaf = true;
                    self.note()?;
                    cgroup.create(LEAF)?
                }
                Err(e) => return Err(e.into()),
            };
            self.children = children;
            self.change.moved = true;
            self.note()?;
            move_all(&leaf, &self.children)?;
        }
        let before = cgroup.read("cgroup.subtree_control")?;
        for controller in controllers {
            if before
                .split_ascii_whitespace()
                .any(|there| there == *controller)
            {
                continue;
            }
            self.change.enabled.push((*controller).to_owned());
            self.note()?;
            if let Err(e) = cgroup.write("cgroup.subtree_control", &format!("+{controller}")) {
                self.change.enabled.pop();
                return Err(e.into());
            }
        }
        Ok(())
    }

    fn note(&self) -> Result<(), CgroupError> {
        match &self.journal {
            Some(journal) => Ok(journal.note(Some(&self.change))?),
            None => Ok(()),
        }
    }

    /// The changes, one line each.
    pub fn lines(&self) -> Vec<String> {
        let Some(at) = &self.at else {
            return Vec::new();
        };
        let path = at.path().display();
        let mut lines = Vec::new();
        if self.change.moved {
            lines.push(format!(
                "moved this process from {path} into its child {LEAF}"
            ));
        }
        if !self.change.enabled.is_empty() {
            lines.push(format!(
                "enabled {} for the children of {path}",
                self.change.enabled.join(" and ")
            ));
        }
        lines
    }

    /// Undoes everything, in reverse. Returns what could not be undone; a second call does nothing.
    pub fn undo(&mut self) -> Vec<CgroupError> {
        let Some(at) = self.at.take() else {
            return Vec::new();
        };
        let mut failed = self.change.take_back(&at, &self.children);
        if let Some(journal) = self.journal.take() {
            failed.extend(journal.note(None).err().map(CgroupError::from));
        }
        failed
    }
}

/// Whether it is the root of the whole hierarchy, which may have members and controllers: only the
/// root has no `cgroup.type`.
pub(super) fn is_root(cgroup: &Cgroup) -> Result<bool, CgroupError> {
    match cgroup.open_file("cgroup.type", nix::fcntl::OFlag::O_RDONLY) {
        Ok(_) => Ok(false),
        Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(true),
        Err(e) => Err(e),
    }
}
