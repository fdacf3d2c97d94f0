//! Limits on the tasks and the memory of a job: in its own cgroup, or on a hybrid machine in
//! directories of the same name in the v1 hierarchies, which the first process enters before exec.

use std::fs::File;
use std::path::Path;

use super::error::StartError;
use super::site::Site;
use crate::error::SysError;
use crate::limits::{self, Limit, LimitError, V1Dirs};

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) tasks: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
}

/// Directories in v1 hierarchies that belong to the job, with their `tasks` open.
#[derive(Debug)]
pub(super) struct V1Limits {
    dirs: V1Dirs,
    tasks: Vec<File>,
}

impl V1Limits {
    fn make(dirs: V1Dirs) -> Result<Self, SysError> {
        dirs.make()?;
        // From here on it is removed if something fails.
        let mut made = Self {
            dirs,
            tasks: Vec::new(),
        };
        made.tasks = made.dirs.open_tasks()?;
        Ok(made)
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &File> {
        self.tasks.iter()
    }

    /// Removes them. Errors: `EBUSY` one has members.
    pub(super) fn remove(&self) -> Result<(), SysError> {
        self.dirs.remove()
    }

    /// Nothing is removed any more.
    pub(super) fn disown(&mut self) {
        self.dirs = V1Dirs::default();
    }
}

impl Drop for V1Limits {
    fn drop(&mut self) {
        // Removed already, unless the start has failed.
        match self.remove() {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Sets them on the job's cgroup, before anything is in it. Nothing is set that was not asked for,
/// and what cannot be set is an error.
pub(super) fn apply(site: &mut Site, wanted: Wanted) -> Result<(), StartError> {
    let tasks = wanted.tasks.map(Limit::Tasks);
    let memory = wanted.memory_bytes.map(Limit::MemoryBytes);
    let wanted: Vec<Limit> = tasks.into_iter().chain(memory).collect();
    let dirs = V1Dirs::of(site.base().limits(), Path::new(site.name()))
        .map(|dirs| dirs.needed_for(&wanted))
        .filter(|dirs| dirs.iter().next().is_some());
    if let (Some(dirs), Some(first)) = (&dirs, wanted.first()) {
        let made = V1Limits::make(dirs.clone()).map_err(|e| refused(*first, e.into()))?;
        site.limit(made);
    }
    for limit in wanted {
        limits::enforce(
            site.base().limits(),
            site.cgroup().path(),
            dirs.as_ref(),
            limit,
        )
        .map_err(|e| refused(limit, e))?;
    }
    Ok(())
}

fn refused(limit: Limit, why: LimitError) -> StartError {
    StartError::Limit {
        what: match limit {
            Limit::Tasks(_) => "the tasks",
            Limit::MemoryBytes(_) => "the memory",
            Limit::CpuQuota(_) => "the processor time",
        },
        remedy: match why {
            LimitError::NoController => {
                "enable the controller for the children of the base (cgroup.subtree_control), or \
                 have it delegated"
            }
            LimitError::Sys(_) => "",
        },
        why: why.to_string(),
    }
}
