//! Limits on the tasks and the memory of a job: in its own cgroup, or on a hybrid machine in
//! directories of the same name in the v1 hierarchies, which the first process enters before exec.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::error::StartError;
use super::site::Site;
use crate::error::{SysError, Target};
use crate::limits::{self, Interface, Limit, LimitSource};

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) tasks: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
}

/// Directories in v1 hierarchies, with their `tasks` open.
#[derive(Debug, Default)]
pub(super) struct V1Limits {
    dirs: Vec<(PathBuf, File)>,
}

impl V1Limits {
    pub(super) fn tasks(&self) -> impl Iterator<Item = &File> {
        self.dirs.iter().map(|(_, tasks)| tasks)
    }

    fn add(&mut self, path: PathBuf, limit: Limit) -> Result<(), SysError> {
        let made = std::fs::create_dir(&path);
        made.map_err(|e| SysError::io("mkdir", Target::Path(path.clone()), &e))?;
        let opened = limits::set(&path, Interface::V1, limit).and_then(|()| {
            let tasks = path.join("tasks");
            let file = File::options().write(true).open(&tasks);
            file.map_err(|e| SysError::io("open", Target::Path(tasks), &e))
        });
        match opened {
            Ok(tasks) => {
                self.dirs.push((path, tasks));
                Ok(())
            }
            Err(e) => {
                // It has no members yet. The first error is the one to report.
                match std::fs::remove_dir(&path) {
                    Ok(()) | Err(_) => {}
                }
                Err(e)
            }
        }
    }

    /// Removes them. Errors: `EBUSY` one has members.
    pub(super) fn remove(&self) -> Result<(), SysError> {
        for (path, _) in &self.dirs {
            match nix::unistd::unlinkat(
                nix::fcntl::AT_FDCWD,
                path,
                nix::unistd::UnlinkatFlags::RemoveDir,
            ) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(e) => return Err(SysError::path("rmdir", path, e)),
            }
        }
        Ok(())
    }
}

impl V1Limits {
    /// Nothing is removed any more.
    pub(super) fn disown(&mut self) {
        self.dirs.clear();
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
    let tasks = wanted.tasks.map(|n| ("the tasks", Limit::Tasks(n)));
    let memory = wanted
        .memory_bytes
        .map(|n| ("the memory", Limit::MemoryBytes(n)));
    let mut v1 = V1Limits::default();
    for (what, limit) in tasks.into_iter().chain(memory) {
        let is_memory = matches!(limit, Limit::MemoryBytes(_));
        let set = match site.base().limits() {
            LimitSource::V2 { memory, .. } if *memory || !is_memory => {
                limits::set(site.cgroup().path(), Interface::V2, limit)
            }
            LimitSource::V1 { pids, .. } if !is_memory => v1.add(at(&pids.path, site), limit),
            LimitSource::V1 {
                memory: Some(memory),
                ..
            } => v1.add(at(&memory.path, site), limit),
            _ => return Err(missing(what)),
        };
        set.map_err(|e| StartError::Limit {
            what,
            why: e.to_string(),
            remedy: "",
        })?;
    }
    if !v1.dirs.is_empty() {
        site.limit(Some(v1));
    }
    Ok(())
}

fn at(dir: &Path, site: &Site) -> PathBuf {
    dir.join(site.name())
}

fn missing(what: &'static str) -> StartError {
    StartError::Limit {
        what,
        why: "the base has no controller for it".to_owned(),
        remedy: "enable the controller for the children of the base (cgroup.subtree_control), \
                 or have it delegated",
    }
}
