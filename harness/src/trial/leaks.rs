//! The leak check: what is left after a run that only the run can have made.
//!
//! Cgroups, hierarchies and tracing instances are recognised by their name
//! ([`crate::host::leftovers`]), and so are mounts; processes by their parent and their user;
//! System V objects and files by their creator, because only the run's actors have that user id. If
//! the actors have the harness's own user (it is not root), such objects and files cannot be told
//! from the user's own and are not checked.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use nix::unistd::Pid;

use crate::error::SysError;

/// Everything that a run could have made, other than cgroups and processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// One line for each thing.
    things: BTreeSet<String>,
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
    /// Reads the state: mounts that bear the name `run`, and what was made by the user `uid`.
    /// `None`: actors share the harness's user.
    pub(super) fn take(run: &str, uid: Option<u32>) -> Result<Self, SysError> {
        let mut things = mounts(run)?;
        if let Some(uid) = uid {
            things.extend(ipc_of(uid)?);
            things.extend(files_of(uid));
        }
        Ok(Self { things })
    }

    /// What is in `self` and was not in `before`.
    pub(super) fn new_since(&self, before: &Self) -> LeakReport {
        LeakReport {
            left: self.things.difference(&before.things).cloned().collect(),
        }
    }
}

/// Children of this thread other than `expected`. Source: proc_tid_children(5), exact while the
/// children are not running on (they are waited for).
pub(super) fn stray_children(expected: &[Pid]) -> Result<Vec<i32>, SysError> {
    let path = "/proc/thread-self/children";
    let text = read(path)?;
    let pids = text
        .split_ascii_whitespace()
        .filter_map(|p| p.parse::<i32>().ok());
    Ok(pids
        .filter(|pid| !expected.contains(&Pid::from_raw(*pid)))
        .collect())
}

fn read(path: &str) -> Result<String, SysError> {
    std::fs::read_to_string(path)
        .map_err(|e| SysError::io("read", crate::Target::Path(path.into()), &e))
}

/// Mounts that have `run` in their root, their place, their source or their options.
fn mounts(run: &str) -> Result<BTreeSet<String>, SysError> {
    let text = read("/proc/self/mountinfo")?;
    // The name ends in a number, and another run's may begin with it.
    let bears = |line: &&str| {
        line.match_indices(run)
            .any(|(at, _)| !line[at + run.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    let ours = text.lines().filter(bears);
    Ok(ours
        .filter_map(|line| line.split(' ').nth(4))
        .map(|place| format!("mount {place}"))
        .collect())
}

/// Columns of `/proc/sysvipc/*` that hold an object's number and the user that made it (ipc/shm.c,
/// ipc/sem.c, ipc/msg.c).
const SYSV: [(&str, usize, usize); 3] = [("shm", 1, 9), ("sem", 1, 6), ("msg", 1, 9)];

/// System V shared memory, semaphores and queues that `uid` has made.
fn ipc_of(uid: u32) -> Result<Vec<String>, SysError> {
    let mut all = Vec::new();
    for (kind, id, creator) in SYSV {
        let path = format!("/proc/sysvipc/{kind}");
        // A kernel without System V IPC has none to leak.
        if !Path::new(&path).exists() {
            continue;
        }
        for line in read(&path)?.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(id), Some(Ok(creator))) = (
                fields.get(id),
                fields.get(creator).map(|uid| uid.parse::<u32>()),
            ) else {
                return Err(SysError::path(
                    "understand",
                    &path,
                    nix::errno::Errno::EBADMSG,
                ));
            };
            if creator == uid {
                all.push(format!("System V object {kind} {id}"));
            }
        }
    }
    Ok(all)
}

/// Files of `uid` directly in the directories where every user may write.
fn files_of(uid: u32) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"]
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flat_map(|entries| entries.filter_map(Result::ok))
        .filter(|entry| entry.metadata().is_ok_and(|m| m.uid() == uid))
        .map(|entry| format!("file {}", entry.path().display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "scenario-0-0-0";

    #[test]
    fn a_new_file_of_the_actors_user_is_a_leak_and_an_old_one_is_not() {
        let own = nix::unistd::geteuid().as_raw();
        let before = Snapshot::take(RUN, Some(own)).unwrap();
        let file = tempfile::NamedTempFile::new_in("/tmp").unwrap();
        let after = Snapshot::take(RUN, Some(own)).unwrap();
        let report = after.new_since(&before);
        let path = file.path().display().to_string();
        assert!(
            report.left.iter().any(|left| left.contains(&path)),
            "{report}"
        );
        assert!(after.new_since(&after).is_clean());
        // Created by another process with an unused user id.
        assert_eq!(
            Snapshot::take(RUN, Some(u32::MAX - 1)).unwrap().things,
            BTreeSet::new()
        );
    }

    #[test]
    fn the_creator_of_a_system_v_object_is_where_the_kernel_says() {
        for (kind, id, creator) in SYSV {
            let path = format!("/proc/sysvipc/{kind}");
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let header: Vec<&str> = text
                .lines()
                .next()
                .unwrap()
                .split_ascii_whitespace()
                .collect();
            assert_eq!(
                header[id],
                format!("{kind}id").replace("msgid", "msqid"),
                "{path}"
            );
            assert_eq!(header[creator], "cuid", "{path}");
        }
    }
}
