//! Processes that stand beside a kill and must not be hit.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::Site;
use crate::error::SysError;
use crate::expect::Canary;
use crate::sys::fork::{Worker, worker, worker_as};
use crate::sys::spawn::{CLONE_PARENT, Credentials, exit_now};
use crate::sys::{pidfd, privilege};

/// The canary that will join the process group and session of a main process which does not exist yet.
///
/// It is forked before the workload: a bomb that has gone off leaves no room in the belt, and on a hybrid machine the observer is inside the
/// belt. Its session is the observer's. It becomes a child of the harness, so that an observer that waits for all its children does not
/// wait for it.
#[derive(Debug)]
pub(super) struct Egg {
    worker: Worker,
    call: OwnedFd,
    answer: OwnedFd,
}

impl Egg {
    /// Forks it. To be called by the observer.
    pub(super) fn lay(site: &Site) -> Result<Self, SysError> {
        let failed = |e| SysError::plain("start a canary", e);
        let (listen, call) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let (answer, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let call = Cell::new(Some(call));
        let worker = worker(CLONE_PARENT, Some(site.control.as_fd()), || {
            // Only the observer may call; if it dies, the canary reads the end of the pipe.
            drop(call.take());
            let mut root = [0u8; 4];
            match crate::error::retry_eintr(|| nix::unistd::read(&listen, &mut root)) {
                Ok(4) => {}
                _ => exit_now(1),
            }
            let group = Pid::from_raw(i32::from_ne_bytes(root));
            perch(&write, || nix::unistd::setpgid(Pid::from_raw(0), group))
        })
        .map_err(failed)?;
        let call = call.take().ok_or_else(|| failed(Errno::EBADF))?;
        Ok(Self { worker, call, answer })
    }

    /// Lets it join the process group of `root`.
    pub(super) fn hatch(self, root: Pid) -> Result<Perched, SysError> {
        let failed = |e| SysError::plain("start a canary", e);
        nix::unistd::write(&self.call, &root.as_raw().to_ne_bytes()).map_err(failed)?;
        heard(&self.answer)?;
        let Worker { pid, pidfd } = self.worker;
        Ok(Perched {
            kind: Canary::SameGroup,
            pid,
            pidfd,
        })
    }
}

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
        Self::start(Canary::SameUid, &site.control, setup)
    }

    /// The canary in the parent of the watched cgroup.
    pub(super) fn parent_cgroup(site: &Site) -> Result<Self, SysError> {
        Self::start(Canary::ParentCgroup, &site.parent, || Ok(()))
    }

    /// The canary that is to be taken for somebody else: outside the set, with the number of a member that has just been reaped.
    ///
    /// Errors: `EEXIST` somebody was faster; `EPERM` this process may not choose numbers.
    pub(super) fn framed(site: &Site, number: Pid) -> Result<Self, Errno> {
        let Worker { pid, pidfd } = worker_as(number, Some(site.control.as_fd()), || sing())?;
        Ok(Self {
            kind: Canary::ReusedPid,
            pid,
            pidfd,
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
        cgroup: &crate::cgroup::Cgroup,
        setup: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<Self, SysError> {
        let failed = |e| SysError::plain("start a canary", e);
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let Worker { pid, pidfd } = worker(0, Some(cgroup.as_fd()), || perch(&write, setup)).map_err(failed)?;
        drop(write);
        heard(&read)?;
        Ok(Self { kind, pid, pidfd })
    }

    /// Its kind, if it has been hit: it is dead, or has a SIGKILL pending and has not got round to dying.
    pub(super) fn hit(&self) -> Result<Option<Canary>, SysError> {
        let dead =
            pidfd::has_exited(self.pidfd.as_fd()).map_err(|e| SysError::pid("poll pidfd", self.pid.as_raw(), e))?;
        // Our own child: the number is its own until it is reaped, and then it is dead.
        let dying = crate::proc::status(self.pid.as_raw())
            .is_ok_and(|status| status.has_pending(nix::sys::signal::Signal::SIGKILL));
        Ok((dead || dying).then_some(self.kind))
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

/// The canary's side: sets itself up, says how that went, and sings.
fn perch(answer: &OwnedFd, setup: impl FnOnce() -> Result<(), Errno>) -> i32 {
    let said = setup().map_or_else(|errno| errno as i32, |()| 0);
    match nix::unistd::write(answer, &said.to_ne_bytes()) {
        Ok(4) if said == 0 => sing(),
        _ => exit_now(1),
    }
}

/// The other side: an error if the canary could not set itself up.
fn heard(answer: &OwnedFd) -> Result<(), SysError> {
    let failed = |e| SysError::plain("start a canary", e);
    let mut said = [0u8; 4];
    match crate::error::retry_eintr(|| nix::unistd::read(answer, &mut said)).map_err(failed)? {
        4 if said == [0; 4] => Ok(()),
        4 => Err(failed(Errno::from_raw(i32::from_ne_bytes(said)))),
        _ => Err(failed(Errno::ECHILD)),
    }
}

fn sing() -> ! {
    loop {
        nix::unistd::pause();
    }
}
