//! `waitid(2)` with nothing left out: nix's version refuses a child that died of a real-time
//! signal, after it has been reaped.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::check;

/// Whom to wait for. Only children of the caller (and what it traces) can ever be meant.
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

/// What `waitid` said of a child.
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

    /// The number of the signal that ended it, if one did; real-time signals (which nix has no name
    /// for) included.
    pub fn signal(&self) -> Option<i32> {
        matches!(self.code, libc::CLD_KILLED | libc::CLD_DUMPED).then_some(self.status)
    }
}

/// `waitid(2)`. `None` only with `WNOHANG`: there are children, and none has changed.
///
/// Errors: `ECHILD` no such child is left, `EINTR`, `EINVAL` for [`Whose::Pidfd`] before 5.4.
pub fn waitid(whose: Whose<'_>, flags: WaitPidFlag) -> Result<Option<Change>, Errno> {
    let (kind, id) = match whose {
        Whose::Any => (libc::P_ALL, 0),
        Whose::Pid(pid) => (libc::P_PID, pid.as_raw()),
        Whose::Group(pid) => (libc::P_PGID, pid.as_raw()),
        Whose::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd()),
    };
    let id = libc::id_t::try_from(id).map_err(|_| Errno::EINVAL)?;
    // SAFETY: all-zero bytes are a valid siginfo_t; with WNOHANG the kernel leaves si_pid 0 when
    // nothing has changed.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable for the call; the rest are integers.
    let ret = unsafe { libc::waitid(kind, id, &mut info, flags.bits()) };
    check(libc::c_long::from(ret))?;
    // SAFETY: waitid fills in the SIGCHLD part of the union, or leaves zeros.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Ok((pid != 0).then_some(Change {
        pid: Pid::from_raw(pid),
        code: info.si_code,
        status,
    }))
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
