//! The text formats of `/proc/<pid>`. Pure; anything unexpected is `None`, never a default.

use std::path::{Component, Path};

/// Some fields of `/proc/<pid>/stat`. Source: proc_pid_stat(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Process (or thread) id.
    pub pid: i32,
    /// Name; may contain anything, line breaks included.
    pub comm: String,
    /// State letter.
    pub state: char,
    /// Parent.
    pub ppid: i32,
    /// Process group.
    pub pgrp: i32,
    /// Session.
    pub session: i32,
    /// `PF_*`, include/linux/sched.h.
    pub flags: u32,
}

const PF_EXITING: u32 = 0x4;
const PF_SIGNALED: u32 = 0x400;
const PF_KTHREAD: u32 = 0x0020_0000;

impl Stat {
    /// Reads the content of `/proc/<pid>/stat`. `None`: it is not what the kernel writes.
    pub fn parse(content: &[u8]) -> Option<Self> {
        stat(content)
    }

    /// Dead: waiting to be reaped (`Z`) or being released (`X`). A zombie leader may have live
    /// threads.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// In `do_exit()`, or past the point in `get_signal()` where a fatal signal has been taken: it
    /// is no longer pending then.
    pub fn is_exiting(&self) -> bool {
        self.flags & (PF_EXITING | PF_SIGNALED) != 0
    }

    /// A kernel thread: it cannot be signalled.
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

/// Reads `/proc/<pid>/stat`. The name is between the first `(` and the *last* `)`: it may contain
/// both, and spaces and newlines.
pub(super) fn stat(content: &[u8]) -> Option<Stat> {
    let open = content.iter().position(|b| *b == b'(')?;
    let close = content.iter().rposition(|b| *b == b')')?;
    let pid = number(content.get(..open)?)?;
    let comm = String::from_utf8_lossy(content.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(content.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let mut state = fields.next()?.chars();
    let stat = Stat {
        pid,
        comm,
        state: state.next().filter(char::is_ascii_alphabetic)?,
        ppid: fields.next()?.parse().ok()?,
        pgrp: fields.next()?.parse().ok()?,
        session: fields.next()?.parse().ok()?,
        flags: fields.nth(2)?.parse().ok()?,
    };
    state.next().is_none().then_some(stat)
}

/// Some lines of `/proc/<pid>/status`. Source: proc_pid_status(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The process, if this is a thread.
    pub tgid: i32,
    /// Real, effective, saved and file-system user id.
    pub uids: [u32; 4],
    /// The process that traces it; 0: none.
    pub tracer: i32,
    /// Signals pending for the thread, bit n-1 for signal n.
    pub pending: u64,
    /// Signals pending for the process.
    pub shared_pending: u64,
    /// Signals ignored.
    pub ignored: u64,
    /// Signals blocked.
    pub blocked: u64,
    /// Resident memory. Absent once the memory map was given up (and in kernel threads).
    pub rss_kib: Option<u64>,
    /// Times that the thread went to sleep by itself.
    pub voluntary_switches: u64,
}

impl Status {
    /// Reads the content of `/proc/<pid>/status`. `None`: it is not what the kernel writes.
    pub fn parse(content: &[u8]) -> Option<Self> {
        status(content)
    }

    /// Whether `signal` is pending, for the thread or for the process. A SIGKILL is: it was killed,
    /// and has not acted on it yet.
    pub fn has_pending(&self, signal: nix::sys::signal::Signal) -> bool {
        (self.pending | self.shared_pending) & bit(signal) != 0
    }

    /// Whether `signal` would do nothing.
    pub fn shrugs_off(&self, signal: nix::sys::signal::Signal) -> bool {
        (self.ignored | self.blocked) & bit(signal) != 0
    }
}

fn bit(signal: nix::sys::signal::Signal) -> u64 {
    1 << (signal as u32 - 1)
}

/// Reads `/proc/<pid>/status`. The kernel escapes newlines in the name, so what begins a line is
/// its own.
pub(super) fn status(content: &[u8]) -> Option<Status> {
    let field = |key: &str| {
        content
            .split(|b| *b == b'\n')
            .find_map(|line| line.strip_prefix(key.as_bytes()))
            .and_then(|value| std::str::from_utf8(value).ok())
            .map(str::trim)
    };
    let mask = |key| u64::from_str_radix(field(key)?, 16).ok();
    let mut uids = field("Uid:")?
        .split_ascii_whitespace()
        .map(|id| id.parse().ok());
    Some(Status {
        tgid: field("Tgid:")?.parse().ok()?,
        uids: [uids.next()??, uids.next()??, uids.next()??, uids.next()??],
        tracer: field("TracerPid:")?.parse().ok()?,
        pending: mask("SigPnd:")?,
        shared_pending: mask("ShdPnd:")?,
        ignored: mask("SigIgn:")?,
        blocked: mask("SigBlk:")?,
        rss_kib: match field("VmRSS:") {
            None => None,
            Some(value) => Some(value.strip_suffix("kB")?.trim().parse().ok()?),
        },
        voluntary_switches: field("voluntary_ctxt_switches:")?.parse().ok()?,
    })
}

/// Where a process is in every hierarchy. Source: cgroups(7), `/proc/<pid>/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Membership {
    lines: Vec<(String, String)>,
}

impl Membership {
    /// Reads the content of `/proc/<pid>/cgroup`. `None`: it is not what the kernel writes.
    pub fn parse(content: &[u8]) -> Option<Self> {
        membership(content)
    }

    /// Its path in the v2 hierarchy, relative to the reader's cgroup namespace.
    pub fn v2(&self) -> Option<&str> {
        self.lines
            .iter()
            .find(|(names, _)| names.is_empty())
            .map(|(_, path)| path.as_str())
    }

    /// Its path in the v1 hierarchy of `controller`.
    pub fn v1(&self, controller: &str) -> Option<&str> {
        self.lines
            .iter()
            .find(|(names, _)| names.split(',').any(|name| name == controller))
            .map(|(_, path)| path.as_str())
    }
}

/// Reads `/proc/<pid>/cgroup`. A cgroup's name may contain `:` but no newline.
pub(super) fn membership(content: &[u8]) -> Option<Membership> {
    let content = std::str::from_utf8(content).ok()?;
    let mut lines = Vec::new();
    for line in content.lines() {
        let (id, rest) = line.split_once(':')?;
        id.parse::<u32>().ok()?;
        let (names, path) = rest.split_once(':')?;
        if !path.starts_with('/') {
            return None;
        }
        lines.push((names.to_owned(), path.to_owned()));
    }
    Some(Membership { lines })
}

/// Whether `path` is `top` or below it, by whole components: `/a/bc` is not within `/a/b`. A
/// removed cgroup's ` (deleted)` is not treated specially: such a cgroup has no members.
pub fn within(path: &str, top: &Path) -> bool {
    let path = Path::new(path);
    path.starts_with(top) && !path.components().any(|c| c == Component::ParentDir)
}

fn number(bytes: &[u8]) -> Option<i32> {
    std::str::from_utf8(bytes).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use proptest::prelude::*;

    fn line(comm: &[u8], state: char, flags: u32) -> Vec<u8> {
        let mut line = b"42 (".to_vec();
        line.extend(comm);
        line.extend(
            format!(") {state} 1 42 7 0 -1 {flags} 10 0 0 0 1 2 0 0 20 0 1 0 99 0 0\n").bytes(),
        );
        line
    }

    #[test]
    fn a_hostile_name_does_not_move_the_fields() {
        for comm in [
            &b"x"[..],
            b"",
            b") R 1 (",
            b"a\nb",
            b"(((",
            b")))",
            b") Z 1 1 1 0 -1 4",
            b"\xff\xfe",
        ] {
            let stat = stat(&line(comm, 'D', PF_KTHREAD | PF_EXITING)).unwrap();
            assert_eq!(
                (stat.pid, stat.state, stat.ppid, stat.pgrp, stat.session),
                (42, 'D', 1, 42, 7)
            );
            assert_eq!(stat.comm, String::from_utf8_lossy(comm));
            assert!(stat.is_kernel_thread() && stat.is_exiting() && !stat.is_zombie());
        }
    }

    #[test]
    fn what_is_no_stat_is_none() {
        for bad in [
            &b""[..],
            b"42",
            b"42 (x",
            b"42 (x) ",
            b"42 (x) RR 1 1 1 0 0 0",
            b"x (x) R 1 1 1 0 -1 0",
            b")x( R 1 1 1 0 -1 0",
        ] {
            assert_eq!(stat(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    const STATUS: &str = "Name:\tTgid:\\n\
        1\n\
        Umask:\t0022\n\
        State:\tS (sleeping)\n\
        Tgid:\t42\n\
        Pid:\t42\n\
        PPid:\t1\n\
        TracerPid:\t7\n\
        Uid:\t0\t1\t2\t3\n\
        VmRSS:\t     512 kB\n\
        SigPnd:\t0000000000000000\n\
        ShdPnd:\t0000000000000100\n\
        SigBlk:\t0000000000000000\n\
        SigIgn:\t0000000000004000\n\
        voluntary_ctxt_switches:\t5\n\
        nonvoluntary_ctxt_switches:\t6\n";

    #[test]
    fn status_says_who_traces_and_what_is_pending() {
        let status = status(STATUS.as_bytes()).unwrap();
        assert_eq!(
            (status.tgid, status.tracer, status.rss_kib),
            (42, 7, Some(512))
        );
        assert_eq!(status.uids, [0, 1, 2, 3]);
        assert!(status.has_pending(Signal::SIGKILL) && !status.has_pending(Signal::SIGTERM));
        assert!(status.shrugs_off(Signal::SIGTERM) && !status.shrugs_off(Signal::SIGHUP));
        assert_eq!(
            super::status(b"Tgid:\t42\n"),
            None,
            "unknown is not `nothing pending`"
        );
    }

    #[test]
    fn memberships_are_told_apart() {
        let found =
            membership(b"9:name=systemd:/\n4:cpu,cpuacct:/a:b\n3:cpuset:/c\n0::/x y\n").unwrap();
        assert_eq!(found.v2(), Some("/x y"));
        assert_eq!(found.v1("cpuacct"), Some("/a:b"));
        assert_eq!(found.v1("cpus"), None);
        assert_eq!(membership(b"nonsense\n"), None);
        assert_eq!(membership(b"0::relative\n"), None);
    }

    #[test]
    fn a_sibling_with_a_longer_name_is_outside() {
        assert!(within("/a/b", Path::new("/a/b")) && within("/a/b/c", Path::new("/a/b")));
        assert!(
            !within("/a/bc", Path::new("/a/b"))
                && !within("/a", Path::new("/a/b"))
                && !within("/a/b/../c", Path::new("/a/b"))
        );
    }

    proptest! {
        #[test]
        fn any_name_is_read_back(comm in prop::collection::vec(any::<u8>(), 0..16),
            flags in any::<u32>()) {
            let stat = stat(&line(&comm, 'S', flags)).unwrap();
            prop_assert_eq!(stat.comm, String::from_utf8_lossy(&comm));
            prop_assert_eq!((stat.pid, stat.flags), (42, flags));
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(stat(&bytes).is_none_or(|s| s.state.is_ascii_alphabetic()));
            prop_assert!(status(&bytes).is_none());
            let absolute = |m: Membership| m.v2().is_none_or(|p| p.starts_with('/'));
            prop_assert!(membership(&bytes).is_none_or(absolute));
        }
    }
}
