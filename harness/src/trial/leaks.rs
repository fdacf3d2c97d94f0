//! The leak check: what is there after a trial or a run that was not there before.
//!
//! Looked at: children of the harness, the run's cgroups in every hierarchy and its own hierarchies, mounts, System V IPC, and files of the
//! actors' user in the directories where anybody may write.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use crate::error::SysError;

/// The machine's state as far as actors could change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    mounts: BTreeSet<String>,
    ipc: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
}

/// What was left. Empty if all is well.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LeakReport {
    /// One line for each thing left.
    pub left: Vec<String>,
}

impl LeakReport {
    /// Whether nothing was left.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty()
    }
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            f.write_str("nothing left behind")
        } else {
            write!(f, "left behind: {}", self.left.join("; "))
        }
    }
}

impl Snapshot {
    /// Reads the state. `uid`: whose files count; `None` leaves files out (actors share the harness's user).
    pub(super) fn take(uid: Option<u32>) -> Result<Self, SysError> {
        Ok(Self {
            mounts: mounts()?,
            ipc: ipc()?,
            files: uid.map_or_else(BTreeSet::new, files_of),
        })
    }

    /// What is in `self` and was not in `before`.
    pub(super) fn new_since(&self, before: &Self) -> LeakReport {
        let added = |what: &str, now: &BTreeSet<String>, then: &BTreeSet<String>| -> Vec<String> {
            now.difference(then).map(|x| format!("{what} {x}")).collect()
        };
        let mut left = added("mount", &self.mounts, &before.mounts);
        left.extend(added("System V object", &self.ipc, &before.ipc));
        left.extend(
            self.files
                .difference(&before.files)
                .map(|p| format!("file {}", p.display())),
        );
        LeakReport { left }
    }
}

/// Children of this thread other than `expected`. Source: proc_tid_children(5), exact while the children are not running on (they are waited for).
pub(super) fn stray_children(expected: &[Pid]) -> Result<Vec<i32>, SysError> {
    let path = "/proc/thread-self/children";
    let text = read(path)?;
    let pids = text.split_ascii_whitespace().filter_map(|p| p.parse::<i32>().ok());
    Ok(pids.filter(|pid| !expected.contains(&Pid::from_raw(*pid))).collect())
}

fn read(path: &str) -> Result<String, SysError> {
    std::fs::read_to_string(path).map_err(|e| SysError::io("read", crate::Target::Path(path.into()), &e))
}

/// Mount points with their types. The mount ids and options change by themselves.
fn mounts() -> Result<BTreeSet<String>, SysError> {
    Ok(read("/proc/self/mountinfo")?
        .lines()
        .filter_map(|l| l.split(' ').nth(4))
        .map(str::to_owned)
        .collect())
}

/// Keys of System V shared memory, semaphores and queues.
fn ipc() -> Result<BTreeSet<String>, SysError> {
    let mut all = BTreeSet::new();
    for kind in ["shm", "sem", "msg"] {
        let path = format!("/proc/sysvipc/{kind}");
        // A kernel without System V IPC has none to leak.
        if !Path::new(&path).exists() {
            continue;
        }
        let text = read(&path)?;
        all.extend(
            text.lines()
                .skip(1)
                .filter_map(|l| l.split_ascii_whitespace().nth(1))
                .map(|id| format!("{kind} {id}")),
        );
    }
    Ok(all)
}

/// Files of `uid` at the top of the directories where anybody may write.
fn files_of(uid: u32) -> BTreeSet<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"]
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flat_map(|entries| entries.filter_map(Result::ok))
        .filter(|entry| entry.metadata().is_ok_and(|m| m.uid() == uid))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_a_leak_and_an_old_one_is_not() {
        let before = Snapshot::take(Some(nix::unistd::geteuid().as_raw())).unwrap();
        let file = tempfile::NamedTempFile::new_in("/tmp").unwrap();
        let after = Snapshot::take(Some(nix::unistd::geteuid().as_raw())).unwrap();
        let report = after.new_since(&before);
        assert!(
            report
                .left
                .iter()
                .any(|l| l.contains(&file.path().display().to_string())),
            "{report}"
        );
        assert!(after.new_since(&after).is_clean());
    }
}
