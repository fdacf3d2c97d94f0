//! Setting limits: the one file that uses the crate `cgroups-rs`.
//!
//! What that crate is good at is knowing which file of which interface a limit goes to. Its
//! controllers are pointed at a directory that was made here; its hierarchies, which look for
//! `/sys/fs/cgroup` only and enable controllers all the way up, are not used, except to tell what
//! kind of machine this is. Nothing is read back through it: "unreadable" and "empty" are the same
//! to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::error::Error as CratesError;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use nix::errno::Errno;

use super::V1Dir;
use crate::error::{SysError, Target};

/// A limit for the members of a cgroup and of all its descendants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Tasks: `pids.max`, in v1 and v2.
    Tasks(u64),
    /// Memory: `memory.max` in v2, `memory.limit_in_bytes` in v1.
    MemoryBytes(u64),
}

/// Which interface a directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// cgroup v1.
    V1,
    /// cgroup v2.
    V2,
}

impl Limit {
    /// The file that takes it.
    pub fn file(self, interface: Interface) -> &'static str {
        match (self, interface) {
            (Self::Tasks(_), _) => "pids.max",
            (Self::MemoryBytes(_), Interface::V1) => "memory.limit_in_bytes",
            (Self::MemoryBytes(_), Interface::V2) => "memory.max",
        }
    }
}

/// Whether `/sys/fs/cgroup` itself is a v2 mount, as against a hybrid or v1 machine.
pub fn is_unified() -> bool {
    cgroups_rs::fs::hierarchies::is_cgroup2_unified_mode()
}

/// Sets `limit` on the cgroup at `dir`, which must be one that was made for a run.
///
/// Errors: `ENOENT` the controller is not enabled there, `EACCES`, `EROFS`; `EBUSY` in v1 where
/// usage cannot be brought below a memory limit. A task limit below the present number of tasks is
/// no error: it only stops further forks.
pub fn set(dir: &Path, interface: Interface, limit: Limit) -> Result<(), SysError> {
    let path = dir.join(limit.file(interface));
    let fail = |errno| SysError::path("set a limit in", &path, errno);
    // The crate opens with O_CREAT, which cgroupfs answers with a misleading EACCES if the file is
    // not there.
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Err(fail(Errno::ENOENT)),
        Err(e) => return Err(SysError::io("set a limit in", Target::Path(path), &e)),
    }
    let v2 = interface == Interface::V2;
    let done = match limit {
        Limit::Tasks(tasks) => {
            let tasks = MaxValue::Value(i64::try_from(tasks).map_err(|_| fail(Errno::EINVAL))?);
            PidController::new(dir.to_path_buf(), PathBuf::new(), v2).set_pid_max(tasks)
        }
        Limit::MemoryBytes(bytes) => {
            let bytes = i64::try_from(bytes).map_err(|_| fail(Errno::EINVAL))?;
            MemController::new(dir.to_path_buf(), PathBuf::new(), v2).set_limit(bytes)
        }
    };
    done.map_err(|e| fail(errno_of(&e)))
}

/// Makes the cgroup `relative` below `dir` (parents included, each of which may already be there)
/// and sets `limit` on it. Returns where it is. What was made before a failure is left for the
/// caller's clean-up, which knows the run's name.
pub fn create_v1_limit(dir: &V1Dir, relative: &Path, limit: Limit) -> Result<PathBuf, SysError> {
    let path = dir.path.join(relative);
    let mut at = dir.path.clone();
    for name in relative.components() {
        at.push(name);
        match fs::create_dir(&at) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(SysError::io("mkdir", Target::Path(at), &e)),
        }
    }
    set(&path, Interface::V1, limit)?;
    Ok(path)
}

/// The kernel's answer inside an error of the crate, `EIO` if there is none.
fn errno_of(error: &CratesError) -> Errno {
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        if let Some(errno) = e
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Errno::from_raw(errno);
        }
        source = e.source();
    }
    Errno::EIO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pids.max", "memory.max", "memory.limit_in_bytes"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        set(dir.path(), Interface::V2, Limit::Tasks(64)).unwrap();
        assert_eq!(read("pids.max"), "64");
        set(dir.path(), Interface::V2, Limit::MemoryBytes(1 << 29)).unwrap();
        assert_eq!(
            (read("memory.max"), read("memory.limit_in_bytes")),
            ("536870912".to_owned(), String::new())
        );
        set(dir.path(), Interface::V1, Limit::MemoryBytes(4096)).unwrap();
        assert_eq!(read("memory.limit_in_bytes"), "4096");
    }

    #[test]
    fn a_missing_controller_is_enoent_and_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = set(dir.path(), Interface::V2, Limit::Tasks(64)).unwrap_err();
        assert_eq!(error.errno, Errno::ENOENT);
        assert!(error.to_string().contains("pids.max"), "{error}");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing was created"
        );
    }

    #[test]
    fn the_kernels_answer_is_found_inside_the_crates_error() {
        // A directory where the file should be: EISDIR, as any user.
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pids.max")).unwrap();
        let error = set(dir.path(), Interface::V2, Limit::Tasks(1)).unwrap_err();
        assert_eq!(error.errno, Errno::EISDIR);
    }
}
