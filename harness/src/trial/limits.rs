//! The limits around a trial: a pids limit and, where there is a controller, a memory limit.
//!
//! On a machine with the controllers in v2 the limits sit on the trial's own cgroup. On a hybrid
//! machine they sit in the v1 hierarchies, and the *observer* joins those before it spawns: a
//! member inherits at birth, so nothing migrates between birth and exec. The migration of a process
//! costs about 15 ms (an RCU grace period in `cgroup_threadgroup_rwsem`) and would hide the gap
//! that is measured; a thread that moves itself alone through `tasks` waits for none
//! (kernel/cgroup/cgroup.c, cgroup_procs_write_start()).

use std::path::{Path, PathBuf};

use allgone::set::V1Dirs;

use super::{Limits, TrialError};
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::host::LimitSource;
use allgone::limits::{self, Interface, Limit};

/// Tasks that the harness itself may have inside a limit: the observer, a canary, a tiny init, a
/// placeholder.
const HELPERS: u64 = 4;

/// Directories in v1 hierarchies, on a hybrid machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Limits {
    /// In the pids hierarchy.
    pub pids: PathBuf,
    /// In the memory hierarchy, if there is one.
    pub memory: Option<PathBuf>,
}

impl V1Limits {
    /// Where the directories of `name` are: below the process's own in each hierarchy.
    pub(super) fn of(limits: &LimitSource, name: &Path) -> Option<Self> {
        let LimitSource::V1 { pids, memory, .. } = limits else {
            return None;
        };
        Some(Self {
            pids: pids.path.join(name),
            memory: memory.as_ref().map(|dir| dir.path.join(name)),
        })
    }

    /// Makes them. After an error the caller has to remove those that were made.
    pub(super) fn make(limits: &LimitSource, name: &Path) -> Result<Option<Self>, TrialError> {
        let Some(limits) = Self::of(limits, name) else {
            return Ok(None);
        };
        for path in limits.dirs() {
            std::fs::create_dir(path)
                .map_err(|e| SysError::io("mkdir", crate::Target::Path(path.clone()), &e))?;
        }
        Ok(Some(limits))
    }

    /// Moves the calling process (which must have one thread) into the limits.
    pub(crate) fn join(&self) -> Result<(), SysError> {
        for dir in self.dirs() {
            let path = dir.join("tasks");
            std::fs::write(&path, "0").map_err(|e| {
                SysError::io("write \"0\" to", crate::Target::Path(path.clone()), &e)
            })?;
        }
        Ok(())
    }

    /// The same, for mechanisms.
    pub(super) fn dirs_of_set(&self) -> V1Dirs {
        V1Dirs {
            pids: self.pids.clone(),
            memory: self.memory.clone(),
        }
    }

    /// The directories, pids first.
    pub(crate) fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.pids).chain(self.memory.as_ref())
    }
}

/// Sets the limits of one trial: on its cgroup where the controllers are v2, else on its
/// directories in the v1 hierarchies.
pub(super) fn apply(
    limits: &LimitSource,
    cgroup: &Cgroup,
    v1: Option<&V1Limits>,
    wanted: Limits,
) -> Result<(), SysError> {
    let tasks = Limit::Tasks(wanted.tasks + HELPERS);
    let memory = Limit::MemoryBytes(wanted.memory_bytes);
    if let LimitSource::V2 {
        memory: has_memory, ..
    } = limits
    {
        limits::set(cgroup.path(), Interface::V2, tasks)?;
        if *has_memory {
            limits::set(cgroup.path(), Interface::V2, memory)?;
        }
    }
    if let Some(v1) = v1 {
        limits::set(&v1.pids, Interface::V1, tasks)?;
        if let Some(dir) = &v1.memory {
            limits::set(dir, Interface::V1, memory)?;
        }
    }
    Ok(())
}
