//! A guard: a process that removes everything of a run when the harness, or the other guard, dies.
//!
//! There are two, each in a session of its own and in none of the run's cgroups. Each sleeps on the
//! harness and on the other guard, so whichever of the three is killed first, the others remove the
//! run. None of them is started again. What belongs to the run is found by name.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::error::{SysError, retry_eintr};
use crate::host::{Journal, leftovers};
use crate::sys::fork::{Worker, worker};
use crate::sys::wait::{Whose, waitid};
use crate::sys::{pidfd, time};

/// How long a guard tries to empty and remove the run. Its processes are killed first, all at once.
pub(super) const REMOVING: Duration = Duration::from_secs(50);
/// How long a guard may take to be ready.
const STARTING: Duration = Duration::from_secs(30);

/// Both guards, from the harness's side. Dropping it makes them remove everything of the run, and
/// waits for that.
#[derive(Debug)]
pub(super) struct Guards {
    workers: Vec<Worker>,
    orders: Orders,
    dismissed: bool,
}

/// The orders of the harness: eventfds that stay readable for both once they are written to,
/// because nothing reads them.
#[derive(Debug)]
struct Orders {
    /// The harness has removed everything itself.
    done: EventFd,
    /// Remove everything, and end.
    remove: EventFd,
}

impl Orders {
    fn new() -> Result<Self, SysError> {
        let new = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        Ok(Self {
            done: new().map_err(|e| SysError::plain("eventfd", e))?,
            remove: new().map_err(|e| SysError::plain("eventfd", e))?,
        })
    }
}

impl Guards {
    /// Starts both; when it returns, both watch. `run` is the name of the run, whose cgroups may
    /// also be in `extra`.
    pub(super) fn start(
        run: &str,
        extra: Option<&Path>,
        journal: &Journal,
    ) -> Result<Self, SysError> {
        let fail = |e| SysError::plain("start a guard", e);
        let harness = pidfd::open(Pid::this()).map_err(|e| SysError::plain("pidfd_open", e))?;
        let mut guards = Self {
            workers: Vec::new(),
            orders: Orders::new()?,
            dismissed: false,
        };
        let guard = |orders| Guard {
            run,
            extra,
            journal,
            orders,
            harness: harness.as_fd(),
            parent: Pid::this(),
        };
        // Each guard has to know the other: the second inherits the first's descriptor, the first
        // is sent the second's pid.
        let (number, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(fail)?;
        let tell = Cell::new(Some(tell));
        let first_ready = guard(&guards.orders).fork(&mut guards.workers, || {
            // If it kept a copy of this end, it would not notice when the harness closes its own.
            drop(tell.take());
            let mut pid = [0u8; 4];
            match retry_eintr(|| nix::unistd::read(&number, &mut pid))? {
                // The second is not reaped before the first is ready, so the pid is its own.
                4 => pidfd::open(Pid::from_raw(i32::from_ne_bytes(pid))),
                _ => Err(Errno::EPIPE),
            }
        })?;
        let first = guards.workers.first().ok_or_else(|| fail(Errno::ESRCH))?;
        let first = first.pidfd.try_clone();
        let first =
            Cell::new(Some(first.map_err(|e| {
                SysError::io("start a guard", crate::Target::Nothing, &e)
            })?));
        let second_ready = guard(&guards.orders).fork(&mut guards.workers, || {
            drop(tell.take());
            first.take().ok_or(Errno::EBADF)
        })?;
        let second = guards.workers.last().ok_or_else(|| fail(Errno::ESRCH))?;
        let tell = tell.take().ok_or_else(|| fail(Errno::EBADF))?;
        nix::unistd::write(&tell, &second.pid.as_raw().to_ne_bytes()).map_err(fail)?;
        for ready in [first_ready, second_ready] {
            hear(&ready).map_err(fail)?;
        }
        Ok(guards)
    }

    /// Their process ids.
    pub(super) fn pids(&self) -> impl Iterator<Item = Pid> + '_ {
        self.workers.iter().map(|guard| guard.pid)
    }

    /// Their descriptors.
    pub(super) fn pidfds(&self) -> [BorrowedFd<'_>; 2] {
        [self.workers[0].pidfd.as_fd(), self.workers[1].pidfd.as_fd()]
    }

    /// An eventfd: written to, it makes both guards remove everything and end.
    pub(super) fn remove(&self) -> BorrowedFd<'_> {
        self.orders.remove.as_fd()
    }

    /// A guard that has ended, if one has.
    pub(super) fn dead(&self) -> Result<Option<Pid>, SysError> {
        for guard in &self.workers {
            if pidfd::has_exited(guard.pidfd.as_fd())
                .map_err(|e| SysError::plain("poll pidfd", e))?
            {
                return Ok(Some(guard.pid));
            }
        }
        Ok(None)
    }

    /// Ends both and reaps them: because all is well, or after they have removed everything of the
    /// run. A second call does nothing.
    pub(super) fn dismiss(&mut self, all_is_well: bool) -> Result<(), SysError> {
        if std::mem::replace(&mut self.dismissed, true) {
            return Ok(());
        }
        let order = if all_is_well {
            &self.orders.done
        } else {
            &self.orders.remove
        };
        order
            .write(1)
            .map_err(|e| SysError::plain("write to the guards", e))?;
        self.workers.iter().try_for_each(reap)
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        if let Err(error) = self.dismiss(false) {
            tracing::warn!(%error, "could not dismiss the guards");
        }
    }
}

/// Waits until a guard that was told to end has ended, and reaps it.
fn reap(guard: &Worker) -> Result<(), SysError> {
    let fail = |e| SysError::pid("wait for the guard", guard.pid.as_raw(), e);
    let mut fds = [PollFd::new(guard.pidfd.as_fd(), PollFlags::POLLIN)];
    // One that is removing what another has left takes its time.
    let patience = PollTimeout::try_from(REMOVING + STARTING).unwrap_or(PollTimeout::MAX);
    if retry_eintr(|| poll(&mut fds, patience)).map_err(fail)? == 0 {
        return Err(fail(Errno::ETIMEDOUT));
    }
    match retry_eintr(|| {
        waitid(
            Whose::Pidfd(guard.pidfd.as_fd()),
            WaitPidFlag::WEXITED | WaitPidFlag::__WALL,
        )
    }) {
        // A run has reaped it: it reaps every process that ends.
        Ok(_) | Err(Errno::ECHILD) => Ok(()),
        Err(e) => Err(fail(e)),
    }
}

/// Waits until a guard has said that it watches. `EPIPE`: it has ended instead.
fn hear(ready: &OwnedFd) -> Result<(), Errno> {
    let mut fds = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(STARTING).unwrap_or(PollTimeout::MAX);
    match retry_eintr(|| poll(&mut fds, patience))? {
        0 => Err(Errno::ETIMEDOUT),
        _ => match retry_eintr(|| nix::unistd::read(ready, &mut [0]))? {
            1 => Ok(()),
            _ => Err(Errno::EPIPE),
        },
    }
}

/// The arguments of a guard.
struct Guard<'a> {
    run: &'a str,
    extra: Option<&'a Path>,
    journal: &'a Journal,
    orders: &'a Orders,
    harness: BorrowedFd<'a>,
    parent: Pid,
}

impl Guard<'_> {
    /// Forks a guard. `other` gives it the other guard's descriptor. What comes through the pipe
    /// says that it watches.
    fn fork(
        &self,
        workers: &mut Vec<Worker>,
        other: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, SysError> {
        let (hear, ready) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?;
        let ready = Cell::new(Some(ready));
        let guard = worker(0, None, || match self.begin(other, &ready) {
            Ok(other) => self.watch(&other),
            Err(errno) => errno as i32,
        });
        workers.push(guard.map_err(|e| SysError::plain("fork a guard", e))?);
        Ok(hear)
    }

    /// A session of its own, so that it gets no signals of the terminal; and no signal but SIGKILL
    /// ends it.
    fn begin(
        &self,
        other: impl FnOnce() -> Result<OwnedFd, Errno>,
        ready: &Cell<Option<OwnedFd>>,
    ) -> Result<OwnedFd, Errno> {
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)?;
        nix::unistd::setsid()?;
        let other = other()?;
        let ready = ready.take().ok_or(Errno::EBADF)?;
        nix::unistd::write(&ready, b"r")?;
        Ok(other)
    }

    fn watch(&self, other: &OwnedFd) -> i32 {
        let mut alone = false;
        loop {
            let mut fds = [
                PollFd::new(self.orders.done.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.orders.remove.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.harness, PollFlags::POLLIN),
                PollFd::new(other.as_fd(), PollFlags::POLLIN),
            ];
            let watched = if alone { &mut fds[..3] } else { &mut fds[..] };
            match poll(watched, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return errno as i32,
            }
            let [done, remove, harness, other] = fds.map(|fd| fd.any().unwrap_or(false));
            // Checked first: when all is done both guards end, and so does the harness.
            if done {
                return 0;
            }
            if remove || harness {
                return i32::from(!(self.remove() & self.journal.take_back(self.parent)));
            }
            if other {
                alone = true;
                // The harness notices it too, and ends the run in its own way. When it has ended,
                // this guard checks once more.
                self.remove();
            }
        }
    }

    /// Removes everything of the run. False: something is left.
    fn remove(&self) -> bool {
        leftovers::remove_run(self.run, self.extra, time::now() + REMOVING, &mut || {}).is_ok()
    }
}
