//! The process that was started.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::error::{SysError, retry_eintr};
use crate::sys::pidfd;
use crate::sys::spawn::{ChildFailure, Entry, Spawned};
use crate::sys::wait::{Change, Whose, waitid};

/// The main process of a set.
#[derive(Debug)]
pub struct Child {
    /// Process id in this PID namespace. With a tiny init in between, the init's.
    pub pid: Pid,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// How it came into its cgroup.
    pub entry: Entry,
    /// When the spawn began and when it had returned.
    pub spawn_ns: (u64, u64),
    birth: Spawned,
}

impl Child {
    pub(super) fn of(birth: Spawned, spawn_ns: (u64, u64)) -> io::Result<Self> {
        Ok(Self {
            pid: birth.pid,
            pidfd: birth.pidfd.try_clone()?,
            entry: birth.entry,
            spawn_ns,
            birth,
        })
    }

    /// What went wrong between clone and exec, if anything has been reported so far.
    pub fn failure(&self) -> Result<Option<ChildFailure>, Errno> {
        self.birth.failure()
    }

    /// A descriptor that reaches its end when the program has been executed (or its process has
    /// ended on the way).
    pub fn exec_signal(&self) -> BorrowedFd<'_> {
        self.birth.exec_signal()
    }

    /// Reaps it if it has ended, without waiting. `None`: it has not. Touches no other child.
    ///
    /// Errors: `ECHILD` it has been reaped already, or is no child of the caller.
    pub fn try_reap(&self) -> Result<Option<Change>, SysError> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        retry_eintr(|| waitid(Whose::Pidfd(self.pidfd.as_fd()), flags))
            .map_err(|e| SysError::pid("waitid", self.pid.as_raw(), e))
    }

    /// Replaces every descriptor that is left from the birth by a plain pidfd of the same process.
    /// That closes them, which kills a process that was started with
    /// [`CLONE_PIDFD_AUTOKILL`](crate::sys::spawn::CLONE_PIDFD_AUTOKILL). Errors: `ESRCH` it has
    /// ended, and been reaped, already.
    pub fn close_birth_descriptors(&self) -> Result<(), SysError> {
        let failed = |op| move |e| SysError::pid(op, self.pid.as_raw(), e);
        let plain = pidfd::open(self.pid).map_err(failed("pidfd_open"))?;
        // The number may have been reused; a pidfd's inode number is not (Linux 6.9).
        let inode = |fd: BorrowedFd<'_>| nix::sys::stat::fstat(fd).map(|stat| stat.st_ino);
        if inode(plain.as_fd()).map_err(failed("fstat"))?
            != inode(self.pidfd.as_fd()).map_err(failed("fstat"))?
        {
            return Err(failed("pidfd_open")(Errno::ESRCH));
        }
        for birth in [self.pidfd.as_fd(), self.birth.pidfd.as_fd()] {
            pidfd::replace(birth, plain.as_fd()).map_err(failed("dup3"))?;
        }
        Ok(())
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
