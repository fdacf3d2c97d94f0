//! What `/proc` says about a process, read at one moment: `stat`, `status`, `cgroup`, `wchan`, and
//! where cgroup hierarchies are mounted.
//!
//! A process that ends while it is read about is `ENOENT` or `ESRCH`, an answer like any other. The
//! names of processes are chosen by adversaries: the parsers are pure, and tested with hostile
//! ones.

mod mounts;
mod parse;

use nix::errno::Errno;

use crate::error::{SysError, Target};

pub use mounts::Mounts;
pub use parse::{Membership, Stat, Status, within};

/// `/proc/<pid>/stat`.
pub fn stat(pid: i32) -> Result<Stat, SysError> {
    parsed(pid, "stat", parse::stat)
}

/// `/proc/<pid>/task/<tid>/stat` of every thread. One that ends meanwhile is left out.
pub fn threads(pid: i32) -> Result<Vec<Stat>, SysError> {
    let mut threads = Vec::new();
    for tid in numbers(&format!("/proc/{pid}/task"))? {
        match parsed(pid, &format!("task/{tid}/stat"), parse::stat) {
            Ok(stat) => threads.push(stat),
            Err(e) if vanished(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(threads)
}

/// `/proc/<pid>/status`; `pid` may be a thread.
pub fn status(pid: i32) -> Result<Status, SysError> {
    parsed(pid, "status", parse::status)
}

/// `/proc/<pid>/cgroup`: where it is, in every hierarchy.
pub fn membership(pid: i32) -> Result<Membership, SysError> {
    parsed(pid, "cgroup", parse::membership)
}

impl Stat {
    /// Whether the process lives: its first thread does, or another. For a zombie this looks at its
    /// threads.
    pub fn is_alive(&self) -> bool {
        !self.is_zombie()
            || threads(self.pid).is_ok_and(|all| all.iter().any(|thread| !thread.is_zombie()))
    }
}

/// A small file of `/proc/<pid>` as text, trimmed; `None` if it cannot be read (`wchan` and `stack`
/// may need privilege) or is empty.
pub fn text(pid: i32, name: &str) -> Option<String> {
    let content = std::fs::read(format!("/proc/{pid}/{name}")).ok()?;
    let text = String::from_utf8_lossy(&content).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// All processes of this PID namespace, by number, as `/proc` lists them one after the other.
pub fn pids() -> Result<Vec<i32>, SysError> {
    numbers("/proc")
}

/// `stat` of every process. One that ends meanwhile is left out.
pub fn everybody() -> Result<Vec<Stat>, SysError> {
    let mut all = Vec::new();
    for pid in pids()? {
        match stat(pid) {
            Ok(stat) => all.push(stat),
            Err(e) if vanished(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

/// Whether an error means that the process has gone.
pub fn vanished(e: &SysError) -> bool {
    matches!(e.errno, Errno::ENOENT | Errno::ESRCH)
}

fn parsed<T>(pid: i32, name: &str, parse: impl Fn(&[u8]) -> Option<T>) -> Result<T, SysError> {
    let path = format!("/proc/{pid}/{name}");
    let content = std::fs::read(&path)
        .map_err(|e| SysError::io("read", Target::Path(path.clone().into()), &e))?;
    // A file that is read while its process is released can be empty.
    if content.is_empty() {
        return Err(SysError::path("read", path, Errno::ESRCH));
    }
    parse(&content).ok_or_else(|| SysError::path("understand", path, Errno::EBADMSG))
}

fn numbers(directory: &str) -> Result<Vec<i32>, SysError> {
    let fail = |e: &std::io::Error| SysError::io("readdir", Target::Path(directory.into()), e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|e| fail(&e))? {
        let entry = entry.map_err(|e| fail(&e))?;
        if let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_can_read_about_oneself() {
        let own = std::process::id().cast_signed();
        let stat = stat(own).unwrap();
        assert_eq!(
            (stat.pid, stat.is_zombie(), stat.is_kernel_thread()),
            (own, false, false)
        );
        assert_eq!(status(own).unwrap().tgid, own);
        assert!(threads(own).unwrap().iter().any(|thread| thread.pid == own));
        assert!(pids().unwrap().contains(&own));
        assert!(membership(own).is_ok());
    }

    #[test]
    fn whoever_is_not_there_has_vanished() {
        assert!(vanished(&stat(i32::MAX).unwrap_err()));
    }
}
