//! The process outside of the tree that does something at the tree's request: see [`Beside`].

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getpid, setsid};

use super::broken::Broken;
use super::{Beside, Site, TrialSpec};
use crate::error::{SysError, retry_eintr};
use crate::param::FOREVER;
use crate::sys::fork::worker;
use crate::sys::spawn::CLONE_PARENT;
use crate::sys::uffd::{self, MissingPage};
use crate::sys::{pidfd, privilege, time};

/// One that has been started, and waits for the main process's number.
#[derive(Debug)]
pub(super) struct Waiting {
    call: OwnedFd,
    /// What the tree is to be given.
    given: Option<OwnedFd>,
}

impl Waiting {
    /// Forks it, if the scenario has one. To be called by the observer; it becomes a child of the
    /// harness, so that no mechanism takes it for a child of the tree.
    pub(super) fn fork(site: &Site, spec: &TrialSpec<'_>) -> Result<Option<Self>, Broken> {
        let kind = spec.stage.beside;
        if matches!(kind, Beside::Nobody | Beside::ReusedPid) {
            return Ok(None);
        }
        let failed = |e| Broken::harness(SysError::plain("start the process outside", e));
        let (listen, call) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let call = Cell::new(Some(call));
        let (given, held) = match kind {
            Beside::Holder => {
                let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
                (Some(read), Some(write))
            }
            _ => (None, None),
        };
        worker(CLONE_PARENT, Some(site.control.as_fd()), || {
            // Only the observer may call; if it dies, the process reads the end of the pipe.
            drop(call.take());
            match serve(site, kind, held.as_ref(), &listen) {
                Ok(()) => 0,
                Err(errno) => errno as i32,
            }
        })
        .map_err(failed)?;
        let call = call.take().ok_or_else(|| failed(Errno::EBADF))?;
        Ok(Some(Self { call, given }))
    }

    /// What the tree is to be given, once.
    pub(super) fn take_given(&mut self) -> Option<OwnedFd> {
        self.given.take()
    }

    /// Tells it the main process's number.
    pub(super) fn tell(self, main: Pid) -> Result<(), SysError> {
        nix::unistd::write(&self.call, &main.as_raw().to_ne_bytes())
            .map(|_| ())
            .map_err(|e| SysError::plain("write to the process outside", e))
    }
}

/// What it does.
fn serve(site: &Site, kind: Beside, held: Option<&OwnedFd>, listen: &OwnedFd) -> Result<(), Errno> {
    setsid()?;
    let mut number = [0; 4];
    if retry_eintr(|| nix::unistd::read(listen, &mut number))? != number.len() {
        return Err(Errno::EPIPE);
    }
    let main = pidfd::open(Pid::from_raw(i32::from_ne_bytes(number)))?;
    site.ledger.wait_asked();
    let lives = || match live_on(site, &main) {
        Ok(()) => 0,
        Err(errno) => errno as i32,
    };
    match kind {
        Beside::Broker => worker(CLONE_PARENT, Some(site.control.as_fd()), lives).map(|_| ()),
        Beside::Joiner => {
            site.cgroup
                .write("cgroup.procs", "0")
                .map_err(|e| e.errno().unwrap_or(Errno::EIO))?;
            site.credentials.map_or(Ok(()), privilege::become_user)?;
            live_on(site, &main)
        }
        Beside::Holder => hold(site, held.ok_or(Errno::EBADF)?),
        Beside::Nobody | Beside::ReusedPid => Ok(()),
    }
}

/// Writes to the pipe from a page that comes [`Beside::HOLDS`] later. A second process, which alone
/// keeps the page away, lets the tree go on when the first one sleeps in the kernel.
fn hold(site: &Site, pipe: &OwnedFd) -> Result<(), Errno> {
    let page = MissingPage::new()?;
    worker(CLONE_PARENT, Some(site.control.as_fd()), || {
        if let Err(errno) = uffd::wait_for_fault(page.descriptor()) {
            return errno as i32;
        }
        site.ledger.answer();
        // That it takes so long is what the scenario is about.
        let until = time::now() + Beside::HOLDS;
        while matches!(time::sleep_until(until), Err(Errno::EINTR)) {}
        0
    })?;
    page.write_to(pipe.as_fd())
}

/// Enters itself as one of the tree's, lets the tree go on, and lives.
fn live_on(site: &Site, main: &OwnedFd) -> Result<(), Errno> {
    site.ledger.announce();
    let row = site.ledger.born(getpid().as_raw());
    site.ledger.answer();
    let mut fds = [PollFd::new(main.as_fd(), PollFlags::POLLIN)];
    retry_eintr(|| poll(&mut fds, PollTimeout::NONE))?;
    // A life of this length is what the scenario is about.
    let lifetime_ns = site.param(&Beside::LIFETIME);
    let until = time::now() + Duration::from_nanos(lifetime_ns);
    while lifetime_ns == FOREVER || !until.has_passed() {
        match time::sleep_until(until) {
            Ok(()) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    site.ledger.exiting(row);
    Ok(())
}
