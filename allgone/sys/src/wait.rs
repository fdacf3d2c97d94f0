//! `waitid(2)` for all statuses: nix's version fails for a child that died of a real-time signal,
//! after having reaped it.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::check;

/// What to wait for: children of the caller, or its tracees.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// Any child (`P_ALL`).
    Any,
    /// One child (`P_PID`).
    Pid(Pid),
    /// Any child in this process group (`P_PGID`).
    Group(Pid),
    /// One child by its descriptor (`P_PIDFD`, Linux 5.4).
    Pidfd(BorrowedFd<'a>),
}

impl Whose<'_> {
    fn id(self) -> Result<(libc::idtype_t, libc::id_t), Errno> {
        let (kind, id) = match self {
            Self::Any => (libc::P_ALL, 0),
            Self::Pid(pid) => (libc::P_PID, pid.as_raw()),
            Self::Group(pid) => (libc::P_PGID, pid.as_raw()),
            Self::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd()),
        };
        Ok((kind, libc::id_t::try_from(id).map_err(|_| Errno::EINVAL)?))
    }
}

/// What `waitid` reported about a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub pid: Pid,
    /// `CLD_EXITED`, `CLD_KILLED`, `CLD_DUMPED`, `CLD_TRAPPED` ...
    pub code: i32,
    /// Exit status, or signal; for a ptrace stop the signal with the event in the second byte.
    pub status: i32,
}

impl Change {
    /// Whether the child has ended (and not only stopped).
    pub fn ended(&self) -> bool {
        matches!(
            self.code,
            libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED
        )
    }

    /// Its exit code, if it exited.
    pub fn exit_code(&self) -> Option<i32> {
        (self.code == libc::CLD_EXITED).then_some(self.status)
    }

    /// The status as wait(2) encodes it.
    pub fn raw(&self) -> i32 {
        match self.code {
            libc::CLD_EXITED => self.status << 8,
            libc::CLD_DUMPED => self.status | 0x80,
            _ => self.status,
        }
    }

    /// The number of the signal that ended it, if one did; real-time signals (which nix has no name
    /// for) included.
    pub fn signal(&self) -> Option<i32> {
        matches!(self.code, libc::CLD_KILLED | libc::CLD_DUMPED).then_some(self.status)
    }
}

/// What a process and the children that it has reaped have used; getrusage(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most memory that one of them had resident at a time.
    pub max_rss_bytes: u64,
}

/// As [`waitid`], with what the child has used.
pub fn waitid_usage(
    whose: Whose<'_>,
    flags: WaitPidFlag,
) -> Result<Option<(Change, Usage)>, Errno> {
    let (kind, id) = whose.id()?;
    // SAFETY: all-zero bytes are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: all-zero bytes are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both structures are writable for the call; the C library's wrapper has no fifth
    // argument.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            kind,
            id,
            std::ptr::from_mut(&mut info),
            flags.bits(),
            std::ptr::from_mut(&mut usage),
        )
    };
    check(ret)?;
    Ok(change(&info).map(|change| {
        let usage = Usage {
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
            max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        };
        (change, usage)
    }))
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
        + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// What the kernel has filled in; nothing if it left zeros.
fn change(info: &libc::siginfo_t) -> Option<Change> {
    // SAFETY: waitid fills in the SIGCHLD part of the union, or leaves zeros.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    (pid != 0).then_some(Change {
        pid: Pid::from_raw(pid),
        code: info.si_code,
        status,
    })
}

/// `waitid(2)`. `None` only with `WNOHANG`: there are children, and none has changed.
///
/// Errors: `ECHILD` no such child is left, `EINTR`, `EINVAL` for [`Whose::Pidfd`] before 5.4.
pub fn waitid(whose: Whose<'_>, flags: WaitPidFlag) -> Result<Option<Change>, Errno> {
    let (kind, id) = whose.id()?;
    // SAFETY: all-zero bytes are a valid siginfo_t; with WNOHANG the kernel leaves si_pid 0 when
    // nothing has changed.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable for the call; the rest are integers.
    let ret = unsafe { libc::waitid(kind, id, &mut info, flags.bits()) };
    check(libc::c_long::from(ret))?;
    Ok(change(&info))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;

    #[test]
    fn a_child_that_died_of_a_real_time_signal_is_reported() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "kill -40 $$"])
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let pidfd = crate::pidfd::open(pid).unwrap();
        let change = waitid(Whose::Pidfd(pidfd.as_fd()), WaitPidFlag::WEXITED)
            .unwrap()
            .unwrap();
        assert_eq!(
            (change.pid, change.code, change.status),
            (pid, libc::CLD_KILLED, 40)
        );
        assert!(change.ended());
        assert_eq!((change.signal(), change.exit_code()), (Some(40), None));
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        assert_eq!(waitid(Whose::Group(pid), flags), Err(Errno::ECHILD));
        assert!(child.wait().is_err(), "reaped already");
    }

    #[test]
    fn a_living_child_is_no_change() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert_eq!(
            waitid(Whose::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG),
            Ok(None)
        );
        drop(child.stdin.take());
        assert_eq!(
            waitid(Whose::Pid(pid), WaitPidFlag::WEXITED)
                .unwrap()
                .unwrap()
                .code,
            libc::CLD_EXITED
        );
        assert!(child.wait().is_err(), "reaped already");
    }
}
