//! The owner of a cgroup, in its name: `<prefix><pid>-<start>-<pidns>`.
//!
//! `start` is the owner's start time (field 22 of `/proc/<pid>/stat`, clock ticks since boot), so
//! that a reused pid is not taken for the owner; `pidns` is the inode of its PID namespace, because
//! a pid of another namespace means nothing here.

use std::fmt;
use std::path::Path;

use crate::error::{SysError, Target};

/// A process, named so that no later one has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId {
    /// Its number.
    pub pid: i32,
    /// When it was started, in clock ticks since boot.
    pub start: u64,
    /// Inode of its PID namespace.
    pub pidns: u64,
}

/// What happened to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is alive.
    Alive,
    /// It has ended: it is a zombie, there is no such process, or another one has its pid.
    Gone,
    /// It cannot be known from here: another PID namespace, or a name that does not identify an
    /// owner.
    Unknown,
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.pid, self.start, self.pidns)
    }
}

impl OwnerId {
    /// This process's. Errors: `/proc` is not mounted or not readable.
    pub fn own() -> Result<Self, SysError> {
        Self::of(nix::unistd::Pid::this())
    }

    /// That of another process of this PID namespace. Errors: as [`OwnerId::own`]; there is no such
    /// process.
    pub fn of(pid: nix::unistd::Pid) -> Result<Self, SysError> {
        if foreign_proc()?.is_some() {
            let op = "find this process under its own number (another PID namespace is \
                      mounted there) in";
            return Err(SysError::path(op, "/proc", nix::errno::Errno::ESRCH));
        }
        let number = pid.as_raw().unsigned_abs();
        let file = || Target::Path(format!("/proc/{number}/stat").into());
        let (_, start) = stat(number).map_err(|e| SysError::io("read", file(), &e))?;
        Ok(Self {
            pid: pid.as_raw(),
            start,
            pidns: own_pidns()?,
        })
    }

    /// Reads a name that begins with `prefix`. What follows a dot is a suffix of the same owner
    /// (`allgone-1-2-3.7`).
    pub fn parse(name: &str, prefix: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(prefix)?.split('.').next()?.split('-');
        let run = Self {
            pid: parts.next()?.parse().ok().filter(|pid| *pid > 0)?,
            start: parts.next()?.parse().ok()?,
            pidns: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(run)
    }

    /// Whether the owner is alive.
    pub fn owner(&self) -> Owner {
        match own_pidns() {
            // Names are looked up in /proc, which must show the namespace that this process and the
            // name are of.
            Ok(pidns) if pidns == self.pidns && foreign_proc() == Ok(None) => {}
            _ => return Owner::Unknown,
        }
        match stat(self.pid.unsigned_abs()) {
            Ok((state, start)) if start == self.start && !matches!(state, 'Z' | 'X') => {
                Owner::Alive
            }
            Ok(_) => Owner::Gone,
            // Opening gives ENOENT, reading a process that ends meanwhile ESRCH.
            Err(e) if matches!(e.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ESRCH)) => {
                Owner::Gone
            }
            Err(_) => Owner::Unknown,
        }
    }
}

/// Whether `/proc` shows another PID namespace than this process's, and what shows it: after
/// unshare(1) with `--pid` and without `--mount-proc`, numbers in `/proc` are those of the parent
/// namespace. Errors: `/proc` is not mounted or not readable.
pub fn foreign_proc() -> Result<Option<String>, SysError> {
    let path = Path::new("/proc/self/status");
    let here = std::process::id();
    match std::fs::read_to_string(path) {
        Ok(status) => Ok(foreign(&status, here)),
        // The link names no process: it shows none of this namespace's processes.
        Err(e)
            if e.kind() == std::io::ErrorKind::NotFound && Path::new("/proc/1/status").exists() =>
        {
            Ok(Some(format!("process {here} is not in it")))
        }
        Err(e) => Err(SysError::io("read", Target::Path(path.into()), &e)),
    }
}

/// The line `NSpid` has the number of a process in the namespace of the mount first, and in its own
/// namespace last.
fn foreign(status: &str, here: u32) -> Option<String> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let numbers: Vec<&str> = line.split_ascii_whitespace().collect();
    match numbers[..] {
        [only] if only == here.to_string() => None,
        _ => Some(format!(
            "this is process {here}, and NSpid there is {}",
            numbers.join(" ")
        )),
    }
}

/// Inode number of this process's PID namespace.
pub fn own_pidns() -> Result<u64, SysError> {
    use std::os::unix::fs::MetadataExt;
    let path = "/proc/self/ns/pid";
    let meta =
        std::fs::metadata(path).map_err(|e| SysError::io("stat", Target::Path(path.into()), &e))?;
    Ok(meta.ino())
}

fn stat(pid: u32) -> std::io::Result<(char, u64)> {
    let text = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// State and start time. The command name may hold spaces, parentheses and newlines, so fields are
/// counted after the last `)`.
fn parse_stat(text: &[u8]) -> Option<(char, u64)> {
    let after = text.iter().rposition(|b| *b == b')')? + 1;
    let mut fields = std::str::from_utf8(text.get(after..)?)
        .ok()?
        .split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // State is field 3, the start time field 22.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn own_name_is_alive_and_a_reused_pid_is_gone() {
        let own = OwnerId::own().unwrap();
        assert_eq!(own.owner(), Owner::Alive);
        let earlier = OwnerId {
            start: own.start - 1,
            ..own
        };
        assert_eq!(earlier.owner(), Owner::Gone);
        let never = OwnerId {
            pid: i32::MAX,
            ..own
        };
        assert_eq!(never.owner(), Owner::Gone);
    }

    #[test]
    fn what_cannot_be_known_is_not_called_gone() {
        let own = OwnerId::own().unwrap();
        let elsewhere = OwnerId {
            pidns: own.pidns + 1,
            pid: i32::MAX,
            ..own
        };
        assert_eq!(elsewhere.owner(), Owner::Unknown);
        for name in [
            "scenario-",
            "scenario-x-1-2",
            "scenario-1-2",
            "scenario-1-2-3-4",
            "scenario-0-1-2",
            "other",
        ] {
            assert_eq!(OwnerId::parse(name, "scenario-"), None, "{name}");
        }
    }

    #[test]
    fn a_proc_of_another_namespace_is_told_by_nspid() {
        assert_eq!(foreign_proc(), Ok(None));
        assert_eq!(foreign("Name:\tx\nNSpid:\t7\n", 7), None);
        let why = foreign("NSpid:\t4242\t1\n", 1).unwrap();
        assert!(why.contains("4242 1"), "{why}");
        assert!(
            foreign("NSpid:\t7\t7\n", 7).is_some(),
            "the numbers are alike by chance"
        );
        assert_eq!(
            foreign("Name:\told kernel\n", 7),
            None,
            "before Linux 4.1 there is no such line"
        );
    }

    #[test]
    fn a_zombie_is_gone() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), flags).unwrap();
        let (state, start) = stat(child.id()).unwrap();
        assert_eq!(state, 'Z');
        let run = OwnerId {
            pid: pid.as_raw(),
            start,
            ..OwnerId::own().unwrap()
        };
        assert_eq!(run.owner(), Owner::Gone);
        child.wait().unwrap();
    }

    proptest! {
        #[test]
        fn names_survive_a_round_trip(pid in 1..i32::MAX, start: u64, pidns: u64) {
            let run = OwnerId { pid, start, pidns };
            prop_assert_eq!(OwnerId::parse(&format!("allgone-{run}.7"), "allgone-"), Some(run));
        }

        #[test]
        fn a_hostile_command_name_does_not_move_the_fields(comm in "[ -~\n]{0,15}") {
            let text = format!("7 ({comm}) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 \
                 10000 1 18446744073709551615\n");
            prop_assert_eq!(parse_stat(text.as_bytes()), Some(('S', 4242)));
        }
    }
}
