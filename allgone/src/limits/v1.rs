//! Limits in v1 hierarchies, on a hybrid machine: directories of one name, which members enter
//! beside their cgroup v2.
//!
//! A process that enters them before it forks or executes passes them on: its children are born
//! there. One thread that writes itself into `tasks` waits for nothing, while the move of a process
//! through `cgroup.procs` waits for an RCU grace period (about 15 ms; kernel/cgroup/cgroup.c,
//! `cgroup_procs_write_start()`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Limit, LimitSource};
use crate::error::{SysError, Target};

/// Directories in v1 hierarchies for the limits of one set of processes. Only names: nothing is
/// made or removed unless that is called for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V1Dirs {
    /// In the pids hierarchy.
    pub pids: Option<PathBuf>,
    /// In the memory hierarchy.
    pub memory: Option<PathBuf>,
}

impl V1Dirs {
    /// Where `name` is, below the caller's own cgroup in each hierarchy that `source` has. `None`:
    /// limits do not come from v1 here.
    pub fn of(source: &LimitSource, name: &Path) -> Option<Self> {
        let LimitSource::V1 { pids, memory, .. } = source else {
            return None;
        };
        Some(Self {
            pids: Some(pids.path.join(name)),
            memory: memory.as_ref().map(|dir| dir.path.join(name)),
        })
    }

    /// Only those in which one of `limits` is set.
    #[must_use]
    pub fn needed_for(self, limits: &[Limit]) -> Self {
        let needed = |dir: &Option<PathBuf>| {
            limits
                .iter()
                .any(|limit| self.for_limit(*limit) == dir.as_deref())
        };
        Self {
            pids: self.pids.clone().filter(|_| needed(&self.pids)),
            memory: self.memory.clone().filter(|_| needed(&self.memory)),
        }
    }

    /// The directory in which this limit is set, if there is one.
    pub(super) fn for_limit(&self, limit: Limit) -> Option<&Path> {
        match limit {
            Limit::Tasks(_) => self.pids.as_deref(),
            Limit::MemoryBytes(_) => self.memory.as_deref(),
            Limit::CpuQuota(_) => None,
        }
    }

    /// All of them, each once, pids first: both controllers may be mounted on one hierarchy.
    pub fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        let memory = self
            .memory
            .iter()
            .filter(|dir| Some(*dir) != self.pids.as_ref());
        self.pids.iter().chain(memory)
    }

    /// Makes them. Errors: `EEXIST` one is there already; those made before an error are removed.
    pub fn make(&self) -> Result<(), SysError> {
        for (made, path) in self.iter().enumerate() {
            if let Err(e) = fs::create_dir(path) {
                for earlier in self.iter().take(made) {
                    // They are empty. The first error is the one to report.
                    match fs::remove_dir(earlier) {
                        Ok(()) | Err(_) => {}
                    }
                }
                return Err(SysError::io("mkdir", Target::Path(path.clone()), &e));
            }
        }
        Ok(())
    }

    /// Opens their `tasks`, for a process that enters before it executes.
    pub fn open_tasks(&self) -> Result<Vec<File>, SysError> {
        let open = |dir: &PathBuf| {
            let tasks = dir.join("tasks");
            let file = File::options().write(true).open(&tasks);
            file.map_err(|e| SysError::io("open", Target::Path(tasks), &e))
        };
        self.iter().map(open).collect()
    }

    /// Moves the calling thread into them; processes that it starts from then on are born there.
    /// Errors: `ENOSPC`, `EACCES`, `ENODEV` one was removed.
    pub fn enter(&self) -> Result<(), SysError> {
        for dir in self.iter() {
            let tasks = dir.join("tasks");
            fs::write(&tasks, "0")
                .map_err(|e| SysError::io("write \"0\" to", Target::Path(tasks), &e))?;
        }
        Ok(())
    }

    /// Removes them; one that is gone is no error. Errors: `EBUSY` one has members.
    pub fn remove(&self) -> Result<(), SysError> {
        for path in self.iter() {
            match unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(e) => return Err(SysError::path("rmdir", path, e)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::V1Dir;

    fn source(root: &Path) -> LimitSource {
        let dir = |controller: &'static str| V1Dir {
            controller,
            path: root.join(controller),
            relative: PathBuf::new(),
        };
        LimitSource::V1 {
            pids: dir("pids"),
            memory: Some(dir("memory")),
            cpu: None,
        }
    }

    #[test]
    fn only_what_a_limit_needs_is_made_and_a_failure_undoes_it() {
        let root = tempfile::tempdir().unwrap();
        let all = V1Dirs::of(&source(root.path()), Path::new("job")).unwrap();
        let tasks = all.clone().needed_for(&[Limit::Tasks(7)]);
        assert_eq!((&tasks.pids, &tasks.memory), (&all.pids, &None));
        assert_eq!(all.clone().needed_for(&[]), V1Dirs::default());

        fs::create_dir(root.path().join("pids")).unwrap();
        tasks.make().unwrap();
        assert_eq!(tasks.make().unwrap_err().errno, Errno::EEXIST);
        tasks.remove().unwrap();
        tasks.remove().unwrap();
        // The second has no parent.
        assert_eq!(all.make().unwrap_err().errno, Errno::ENOENT);
        assert!(!root.path().join("pids/job").exists());
    }

    #[test]
    fn two_controllers_on_one_hierarchy_have_one_directory() {
        let root = tempfile::tempdir().unwrap();
        let dir = Some(root.path().join("job"));
        let dirs = V1Dirs {
            pids: dir.clone(),
            memory: dir,
        };
        dirs.make().unwrap();
        assert_eq!(dirs.iter().count(), 1);
    }

    #[test]
    fn without_v1_there_are_none() {
        assert_eq!(V1Dirs::of(&LimitSource::None, Path::new("job")), None);
    }
}
