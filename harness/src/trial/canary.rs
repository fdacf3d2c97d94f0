//! Processes that stand beside a kill and must not be hit.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::Site;
use crate::error::SysError;
use crate::expect::Canary;
use crate::sys::fork::{Worker, worker};
use crate::sys::spawn::{CLONE_PARENT, Credentials, exit_now};
use crate::sys::{pidfd, privilege};

/// A canary that sings: set up completely, and waiting.
#[derive(Debug)]
pub(super) struct Perched {
    kind: Canary,
    pub(super) pid: Pid,
    pidfd: OwnedFd,
}

impl Perched {
    /// The canary with the actors' user, in the harness's control cgroup.
    pub(super) fn same_uid(site: &Site) -> Result<Self, SysError> {
        let setup = || site.credentials.map_or(Ok(()), become_user);
        Self::start(Canary::SameUid, 0, &site.control, setup)
    }

    /// The canary in the parent of the watched cgroup.
    pub(super) fn parent_cgroup(site: &Site) -> Result<Self, SysError> {
        Self::start(Canary::ParentCgroup, 0, &site.parent, || Ok(()))
    }

    /// The canary in the process group and session of the workload's main process. Called by the observer, whose session it is; the canary
    /// becomes a child of the harness, so that an observer that waits for all its children does not wait for it.
    pub(super) fn same_group(site: &Site, root: Pid) -> Result<Self, SysError> {
        Self::start(Canary::SameGroup, CLONE_PARENT, &site.control, || {
            nix::unistd::setpgid(Pid::from_raw(0), root)
        })
    }

    /// The harness's handle on a canary that the observer started.
    pub(super) fn adopt(kind: Canary, pid: i32) -> Result<Self, SysError> {
        let pid = Pid::from_raw(pid);
        // Our own child that nobody has reaped yet: the number cannot have come to mean another process.
        let pidfd = pidfd::open(pid).map_err(|e| SysError::pid("pidfd_open", pid.as_raw(), e))?;
        Ok(Self { kind, pid, pidfd })
    }

    fn start(
        kind: Canary,
        flags: u64,
        cgroup: &crate::cgroup::Cgroup,
        setup: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<Self, SysError> {
        let failed = |e| SysError::plain("start a canary", e);
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let Worker { pid, pidfd } = worker(flags, Some(cgroup.as_fd()), || {
            let answer = setup().map_or_else(|errno| errno as i32, |()| 0);
            match nix::unistd::write(&write, &answer.to_ne_bytes()) {
                Ok(4) if answer == 0 => sing(),
                _ => exit_now(1),
            }
        })
        .map_err(failed)?;
        drop(write);
        let mut answer = [0u8; 4];
        match crate::error::retry_eintr(|| nix::unistd::read(&read, &mut answer)).map_err(failed)? {
            4 if answer == [0; 4] => Ok(Self { kind, pid, pidfd }),
            4 => Err(failed(Errno::from_raw(i32::from_ne_bytes(answer)))),
            _ => Err(failed(Errno::ECHILD)),
        }
    }

    /// Its kind, if it has been hit.
    pub(super) fn hit(&self) -> Result<Option<Canary>, SysError> {
        let dead =
            pidfd::has_exited(self.pidfd.as_fd()).map_err(|e| SysError::pid("poll pidfd", self.pid.as_raw(), e))?;
        Ok(dead.then_some(self.kind))
    }

    /// Ends it. The harness reaps.
    pub(super) fn release(self) -> Result<(), SysError> {
        match pidfd::send_signal(self.pidfd.as_fd(), Some(nix::sys::signal::Signal::SIGKILL)) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(SysError::pid("pidfd_send_signal", self.pid.as_raw(), errno)),
        }
    }
}

fn become_user(credentials: Credentials) -> Result<(), Errno> {
    privilege::become_user(credentials)
}

fn sing() -> ! {
    loop {
        nix::unistd::pause();
    }
}
