//! What was changed in a cgroup that is not a run's own, written down where the guards of a run can
//! read it and undo it.
//!
//! The text is in memory that processes share which were forked after it was made
//! (memfd_create(2)). A step is written down before it is made, and undoing a step that was not
//! made does nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::LEAF;
use crate::cgroup::{Cgroup, CgroupError, GRACE, remove_child_when_empty};
use crate::error::{SysError, Target};

/// What was changed, or is about to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    /// In which cgroup.
    pub at: PathBuf,
    /// Controllers that are given to its children, and were not before.
    pub enabled: Vec<String>,
    /// Its members were moved to the child [`LEAF`].
    pub moved: bool,
    /// That child was not there before.
    pub made_leaf: bool,
}

impl Change {
    /// Undoes everything in `cgroup`, in reverse, and moves `members` and this process there.
    /// Returns what could not be undone.
    pub(super) fn take_back(&self, cgroup: &Cgroup, members: &[i32]) -> Vec<CgroupError> {
        let mut failed = Vec::new();
        for controller in self.enabled.iter().rev() {
            failed.extend(
                cgroup
                    .write("cgroup.subtree_control", &format!("-{controller}"))
                    .err(),
            );
        }
        if self.moved {
            failed.extend(move_all(cgroup, members).err());
        }
        if self.made_leaf {
            let deadline = crate::sys::time::now() + GRACE;
            match remove_child_when_empty(cgroup, LEAF, deadline) {
                Err(e) if e.errno() != Some(Errno::ENOENT) => failed.push(e),
                Ok(()) | Err(_) => {}
            }
        }
        failed
    }
}

/// Moves those of `pids` that are alive, and this process.
pub(super) fn move_all(to: &Cgroup, pids: &[i32]) -> Result<(), CgroupError> {
    for pid in pids {
        match to.write("cgroup.procs", &pid.to_string()) {
            Err(e) if e.errno() != Some(Errno::ESRCH) => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    to.write("cgroup.procs", "0")
}

/// The shared memory.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// An empty one. Errors: as memfd_create(2).
    pub fn new() -> Result<Self, SysError> {
        let file = memfd_create(c"journal", MFdFlags::MFD_CLOEXEC)
            .map_err(|e| SysError::plain("memfd_create", e))?;
        Ok(Self { file: file.into() })
    }

    /// Writes down what can be undone; nothing, if there is nothing any more.
    pub(super) fn note(&self, change: Option<&Change>) -> Result<(), SysError> {
        let fail = |e: &std::io::Error| SysError::io("note a change", Target::Nothing, e);
        let text = match change {
            Some(change) => serde_json::to_vec(change).map_err(|e| fail(&e.into()))?,
            None => Vec::new(),
        };
        // A reader in between finds no JSON, and so no change: the step has not been made yet.
        self.file.set_len(0).map_err(|e| fail(&e))?;
        self.file.write_all_at(&text, 0).map_err(|e| fail(&e))
    }

    /// Undoes what was noted, on behalf of `harness`, which is also in the leaf if it is alive.
    /// False: not all of it.
    pub(crate) fn take_back(&self, harness: Pid) -> bool {
        let mut text = Vec::new();
        let mut buf = [0u8; 1024];
        while let Ok(n @ 1..) = self
            .file
            .read_at(&mut buf, u64::try_from(text.len()).unwrap_or(u64::MAX))
        {
            text.extend_from_slice(&buf[..n]);
        }
        let Ok(change) = serde_json::from_slice::<Change>(&text) else {
            return text.is_empty();
        };
        match Cgroup::open(&change.at) {
            Ok(cgroup) => change.take_back(&cgroup, &[harness.as_raw()]).is_empty(),
            Err(e) => e.errno() == Some(Errno::ENOENT),
        }
    }
}
