//! Processes that run beside a kill and must not be hit.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use super::Site;
use super::broken::signal_of;
use crate::error::SysError;
use crate::expect::Canary;
use crate::sys::fork::{Worker, worker, worker_as};
use crate::sys::spawn::{CLONE_PARENT, Credentials, exit_now};
use crate::sys::wait::{Change, Whose, waitid};
use crate::sys::{pidfd, privilege, time};
use crate::{MonoNs, proc};

/// Signals that strategies send, or that the kernel sends when they end the leader of a session.
/// SIGKILL is the last: the kernel adds it to any other one that ends a process
/// (`complete_signal()` in kernel/signal.c), so it is the sender's only where it is alone.
const OF_STRATEGIES: [Signal; 3] = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGKILL];

/// What happened to a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is alive, and has no signal pending.
    Unharmed,
    /// It was ended while the strategy acted, by a signal that strategies send.
    Hit,
    /// It was ended, and not by the strategy, for this reason.
    Lost(&'static str),
}

/// What ended a canary: the signal, or `Some(None)` if it ended by itself; `None`: not known. If
/// another process sends it the strategy's signal while the strategy acts, that cannot be told from
/// a hit.
///
/// SIGHUP counts whenever it comes after the first act: the kernel sends it to a process group in
/// which the strategy has left a stopped member, once the parent of the main process has ended.
pub(super) fn judge(
    by: Option<Option<i32>>,
    ended: Option<MonoNs>,
    spared: bool,
    begun: Option<MonoNs>,
) -> Fate {
    match (by, begun) {
        (Some(None), _) => Fate::Lost("by itself"),
        (Some(Some(signal)), _) if !OF_STRATEGIES.iter().any(|known| *known as i32 == signal) => {
            Fate::Lost("by a signal that no strategy sends")
        }
        (_, None) => Fate::Lost("although no strategy acted"),
        (_, Some(begun)) if ended.is_some_and(|ended| ended < begun) => {
            Fate::Lost("before the strategy's first act")
        }
        _ if spared && by != Some(Some(Signal::SIGHUP as i32)) => {
            Fate::Lost("after the strategy's last act")
        }
        _ => Fate::Hit,
    }
}

/// The canary that will join the process group and session of a main process which does not exist
/// yet.
///
/// It is forked before the workload, because a bomb uses the limit up, and on a hybrid machine the
/// observer is inside that limit. Its session is the observer's. It becomes a child of the harness,
/// so that an observer that waits for all its children does not wait for it.
#[derive(Debug)]
pub(super) struct WaitingCanary {
    worker: Worker,
    call: OwnedFd,
    answer: OwnedFd,
}

impl WaitingCanary {
    /// Forks it. To be called by the observer.
    pub(super) fn fork(site: &Site) -> Result<Self, SysError> {
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
            sleep_after(&write, || nix::unistd::setpgid(Pid::from_raw(0), group))
        })
        .map_err(failed)?;
        let call = call.take().ok_or_else(|| failed(Errno::EBADF))?;
        Ok(Self {
            worker,
            call,
            answer,
        })
    }

    /// Lets it join the process group of `root`.
    pub(super) fn join_group(self, root: Pid) -> Result<LiveCanary, SysError> {
        let failed = |e| SysError::plain("start a canary", e);
        // A write to a pipe without a reader would end the observer.
        if pidfd::has_exited(self.worker.pidfd.as_fd()).map_err(failed)? {
            return Err(failed(Errno::ECHILD));
        }
        nix::unistd::write(&self.call, &root.as_raw().to_ne_bytes()).map_err(failed)?;
        heard(&self.answer)?;
        let Worker { pid, pidfd } = self.worker;
        Ok(LiveCanary::new(Canary::SameGroup, pid, pidfd))
    }
}

/// A canary that is ready: set up completely, and sleeping.
#[derive(Debug)]
pub(super) struct LiveCanary {
    pub(super) kind: Canary,
    pub(super) pid: Pid,
    pidfd: OwnedFd,
    /// When the harness saw that it had ended.
    ended: Option<MonoNs>,
    /// It was alive, with no signal pending, when the strategy had sent its last one.
    spared: bool,
}

impl LiveCanary {
    fn new(kind: Canary, pid: Pid, pidfd: OwnedFd) -> Self {
        Self {
            kind,
            pid,
            pidfd,
            ended: None,
            spared: false,
        }
    }

    /// The canary with the actors' user, in the harness's control cgroup.
    pub(super) fn same_uid(site: &Site) -> Result<Self, SysError> {
        let setup = || site.credentials.map_or(Ok(()), become_user);
        Self::start(Canary::SameUid, &site.control, setup)
    }

    /// The canary in the parent of the watched cgroup.
    pub(super) fn parent_cgroup(site: &Site) -> Result<Self, SysError> {
        Self::start(Canary::ParentCgroup, &site.parent, || Ok(()))
    }

    /// The canary that can be mistaken for a member: outside the set, with the pid of a member that
    /// has just been reaped.
    ///
    /// Errors: `EEXIST` another process has got the pid; `EPERM` this process may not choose pids.
    pub(super) fn with_number(site: &Site, number: Pid) -> Result<Self, Errno> {
        let Worker { pid, pidfd } = worker_as(number, Some(site.control.as_fd()), || sing())?;
        Ok(Self::new(Canary::ReusedPid, pid, pidfd))
    }

    /// The harness's handle on a canary that the observer started.
    pub(super) fn adopt(kind: Canary, pid: i32) -> Result<Self, SysError> {
        let pid = Pid::from_raw(pid);
        // Our own child that has not been reaped yet: the pid cannot belong to another process.
        let pidfd = pidfd::open(pid).map_err(|e| SysError::pid("pidfd_open", pid.as_raw(), e))?;
        Ok(Self::new(kind, pid, pidfd))
    }

    fn start(
        kind: Canary,
        cgroup: &crate::cgroup::Cgroup,
        setup: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<Self, SysError> {
        let failed = |e| SysError::plain("start a canary", e);
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let Worker { pid, pidfd } =
            worker(0, Some(cgroup.as_fd()), || sleep_after(&write, setup)).map_err(failed)?;
        drop(write);
        heard(&read)?;
        Ok(Self::new(kind, pid, pidfd))
    }

    /// Checks whether it has ended, and notes when that was seen first. Call it often: the time is
    /// an upper bound.
    pub(super) fn look(&mut self) -> Result<(), SysError> {
        if self.ended.is_none() && self.has_ended()? {
            self.ended = Some(time::now());
        }
        Ok(())
    }

    /// Notes that the strategy has sent all it will ever send. A canary that sleeps with no signal
    /// pending now was not hit by it: a signal is pending from the moment it is sent, and a process
    /// that has taken a fatal one does not sleep again before it is marked as exiting. The signals
    /// are read before the state.
    pub(super) fn issued(&mut self) -> Result<(), SysError> {
        self.spared = match (self.pending()?, proc::stat(self.pid.as_raw())) {
            (pending, Ok(stat)) => pending.is_none() && stat.state == 'S' && !stat.is_exiting(),
            (_, Err(e)) if proc::vanished(&e) => false,
            (_, Err(e)) => return Err(e),
        };
        Ok(())
    }

    fn has_ended(&self) -> Result<bool, SysError> {
        pidfd::has_exited(self.pidfd.as_fd())
            .map_err(|e| SysError::pid("poll pidfd", self.pid.as_raw(), e))
    }

    /// The signal that is pending, on which it has not acted yet. It is our own child: the pid is
    /// its own until it is reaped, and then it has ended.
    fn pending(&self) -> Result<Option<Signal>, SysError> {
        match proc::status(self.pid.as_raw()) {
            Ok(status) => {
                let mut known = OF_STRATEGIES.into_iter();
                Ok(known.find(|signal| status.has_pending(*signal)))
            }
            Err(e) if proc::vanished(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// How it has ended, if it has not been reaped since.
    fn unreaped(&self) -> Result<Option<Change>, SysError> {
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
        let look = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Whose::Pidfd(self.pidfd.as_fd()), ended | look) {
            Ok(change) => Ok(change),
            Err(Errno::ECHILD) => Ok(None),
            Err(errno) => Err(SysError::pid("waitid", self.pid.as_raw(), errno)),
        }
    }

    /// What happened to it. `status`: how it ended, if it has been reaped; `begun`: when the
    /// strategy began to act.
    pub(super) fn fate(
        &self,
        status: Option<Change>,
        begun: Option<MonoNs>,
    ) -> Result<Fate, SysError> {
        let pending = self.pending()?;
        if pending.is_none() && !self.has_ended()? {
            return Ok(Fate::Unharmed);
        }
        let pending = pending.map(|signal| Some(signal as i32));
        let by = status.or(self.unreaped()?).map(signal_of).or(pending);
        Ok(judge(by, self.ended, self.spared, begun))
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

/// The canary's side: sets itself up, reports the result, and sleeps.
fn sleep_after(answer: &OwnedFd, setup: impl FnOnce() -> Result<(), Errno>) -> i32 {
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

#[cfg(test)]
mod tests {
    use super::super::broken::{exited, signalled};
    use super::*;

    const BEGUN: Option<MonoNs> = Some(MonoNs(100));

    #[test]
    fn a_strategy_is_blamed_for_what_was_ended_while_it_acted() {
        assert_eq!(
            judge(
                Some(signal_of(signalled(9))),
                Some(MonoNs(150)),
                false,
                BEGUN
            ),
            Fate::Hit
        );
        assert_eq!(
            judge(None, None, false, BEGUN),
            Fate::Hit,
            "it is on its way out"
        );
        let polite = signalled(15);
        assert_eq!(
            judge(Some(signal_of(polite)), Some(MonoNs(100)), false, BEGUN),
            Fate::Hit
        );
    }

    #[test]
    fn a_strategy_is_not_blamed_for_others() {
        let lost = |fate| matches!(fate, Fate::Lost(_));
        assert!(
            lost(judge(
                Some(signal_of(signalled(9))),
                Some(MonoNs(99)),
                false,
                BEGUN
            )),
            "before its first act"
        );
        assert!(
            lost(judge(
                Some(signal_of(signalled(9))),
                Some(MonoNs(500)),
                true,
                BEGUN
            )),
            "after its last"
        );
        assert!(
            lost(judge(
                Some(signal_of(signalled(9))),
                Some(MonoNs(500)),
                false,
                None
            )),
            "there was no act"
        );
        let hung_up = exited(129);
        assert_eq!(
            judge(Some(signal_of(hung_up)), Some(MonoNs(150)), false, BEGUN),
            Fate::Hit
        );
        assert_eq!(
            judge(Some(Some(1)), Some(MonoNs(500)), true, BEGUN),
            Fate::Hit,
            "the kernel's SIGHUP, for a member that the strategy has left stopped"
        );
        let crashed = signalled(11);
        assert!(lost(judge(
            Some(signal_of(crashed)),
            Some(MonoNs(150)),
            false,
            BEGUN
        )));
        let failed = exited(1);
        assert!(lost(judge(
            Some(signal_of(failed)),
            Some(MonoNs(150)),
            false,
            BEGUN
        )));
    }
}
