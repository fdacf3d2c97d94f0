//! Limits on the members of a cgroup: tasks, memory, processor time, in v2 and on a hybrid machine
//! in v1.

mod v1;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error;

use crate::error::{Reason, SysError, Target};
use crate::layout::V1Dir;

pub use v1::V1Dirs;

/// Where limits come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitSource {
    /// Controllers of the v2 hierarchy that are enabled for the children of a base; `pids` is.
    V2 {
        /// Whether `memory` is among them.
        memory: bool,
        /// Whether `cpu` is among them.
        cpu: bool,
    },
    /// v1 hierarchies of a hybrid machine.
    V1 {
        /// The pids hierarchy.
        pids: V1Dir,
        /// The memory hierarchy, if there is one.
        memory: Option<V1Dir>,
        /// The cpu hierarchy, if there is one.
        cpu: Option<V1Dir>,
    },
    /// Nowhere.
    None,
}

impl LimitSource {
    /// Whether memory can be limited.
    pub fn has_memory(&self) -> bool {
        match self {
            Self::V2 { memory, .. } => *memory,
            Self::V1 { memory, .. } => memory.is_some(),
            Self::None => false,
        }
    }
}

/// A limit for the members of a cgroup and of all its descendants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Tasks, zombies included: `pids.max`, in v1 and v2.
    Tasks(u64),
    /// Memory: `memory.max` in v2, `memory.limit_in_bytes` in v1.
    MemoryBytes(u64),
    /// Processor time: `cpu.max` in v2, `cpu.cfs_quota_us` and `cpu.cfs_period_us` in v1.
    CpuQuota(CpuQuota),
}

/// Processor time in each period; with more than one processor the quota may be longer than the
/// period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuQuota {
    /// Microseconds of processor time.
    pub quota_us: u64,
    /// Microseconds; the kernel takes 1 000 to 1 000 000.
    pub period_us: u64,
}

/// One processor, whole.
pub const WHOLE_CPU: CpuQuota = CpuQuota {
    quota_us: 100_000,
    period_us: 100_000,
};

/// Which interface a directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// cgroup v1.
    V1,
    /// cgroup v2.
    V2,
}

impl Limit {
    /// What is written to which files, in this order.
    pub fn writes(self, interface: Interface) -> Vec<(&'static str, String)> {
        match (self, interface) {
            (Self::Tasks(tasks), _) => vec![("pids.max", tasks.to_string())],
            (Self::MemoryBytes(bytes), Interface::V1) => {
                vec![("memory.limit_in_bytes", bytes.to_string())]
            }
            (Self::MemoryBytes(bytes), Interface::V2) => vec![("memory.max", bytes.to_string())],
            (Self::CpuQuota(cpu), Interface::V1) => vec![
                ("cpu.cfs_period_us", cpu.period_us.to_string()),
                ("cpu.cfs_quota_us", cpu.quota_us.to_string()),
            ],
            (Self::CpuQuota(cpu), Interface::V2) => {
                vec![("cpu.max", format!("{} {}", cpu.quota_us, cpu.period_us))]
            }
        }
    }
}

/// Sets `limit` on the cgroup at `dir`, which must be one that the caller made.
///
/// Errors: `ENOENT` the controller is not enabled there, `EACCES`, `EROFS`; `EBUSY` in v1 where
/// usage cannot be brought below a memory limit. A task limit below the present number of tasks is
/// not an error: it only stops further forks.
pub fn set(dir: &Path, interface: Interface, limit: Limit) -> Result<(), SysError> {
    for (file, value) in limit.writes(interface) {
        let path = dir.join(file);
        let fail =
            |path: PathBuf, e: &io::Error| SysError::io("set a limit in", Target::Path(path), e);
        // Without O_CREAT: cgroupfs answers that with a misleading EACCES if there is no such file.
        let mut file = match fs::File::options().write(true).open(&path) {
            Ok(file) => file,
            Err(e) => return Err(fail(path, &e)),
        };
        io::Write::write_all(&mut file, value.as_bytes()).map_err(|e| fail(path, &e))?;
    }
    Ok(())
}

/// Why a limit could not be set.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LimitError {
    /// Nothing here enforces it.
    #[error("the base has no controller for it")]
    NoController,
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] SysError),
}

impl Reason for LimitError {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::NoController => None,
            Self::Sys(e) => Some(e.errno),
        }
    }
}

/// Sets `limit` where it comes from: on the cgroup at `v2`, which must be a child of the base and
/// made by the caller, or on one of the directories `v1`.
pub fn enforce(
    source: &LimitSource,
    v2: &Path,
    v1: Option<&V1Dirs>,
    limit: Limit,
) -> Result<(), LimitError> {
    let (dir, interface) = match (source, limit) {
        (LimitSource::V2 { .. }, Limit::Tasks(_))
        | (LimitSource::V2 { memory: true, .. }, Limit::MemoryBytes(_))
        | (LimitSource::V2 { cpu: true, .. }, Limit::CpuQuota(_)) => (Some(v2), Interface::V2),
        (LimitSource::V1 { .. }, _) => (v1.and_then(|dirs| dirs.for_limit(limit)), Interface::V1),
        _ => (None, Interface::V2),
    };
    Ok(set(dir.ok_or(LimitError::NoController)?, interface, limit)?)
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
    fn a_limit_that_nothing_enforces_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let v2 = LimitSource::V2 {
            memory: false,
            cpu: false,
        };
        let memory = Limit::MemoryBytes(4096);
        for source in [v2.clone(), LimitSource::None] {
            let refused = enforce(&source, dir.path(), None, memory);
            assert!(matches!(refused, Err(LimitError::NoController)));
        }
        fs::write(dir.path().join("pids.max"), "").unwrap();
        enforce(&v2, dir.path(), None, Limit::Tasks(7)).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("pids.max")).unwrap(),
            "7"
        );
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
    fn a_directory_in_the_place_of_a_file_is_refused() {
        // A directory where the file should be: EISDIR, as any user.
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pids.max")).unwrap();
        let error = set(dir.path(), Interface::V2, Limit::Tasks(1)).unwrap_err();
        assert_eq!(error.errno, Errno::EISDIR);
    }
}
