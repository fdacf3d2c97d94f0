//! The harness as a parent: signals by descriptor, and every child and orphan reaped at once.
//!
//! The harness is the subreaper of last resort. A bomb's zombies count against its limit until they
//! are reaped. If that is left to PID 1 it took 1.6 s for 256 tasks; a subreaper needs 15 ms (Linux
//! 6.18, measured).

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::error::SysError;
use crate::sys::wait::{Change, Whose, waitid};

/// Why a run has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A signal asked for it.
    Signal(Signal),
    /// A guard has died.
    Guard(Pid),
}

/// Signals, children and orphans of the harness, from the start of a run to its end.
#[derive(Debug)]
pub(super) struct Reaper {
    signals: SignalFd,
    old_mask: SigSet,
    guards: Vec<Pid>,
    ended: HashMap<i32, Change>,
    /// Children that were stopped by a signal, also those that go on by now.
    stopped: BTreeSet<i32>,
    ending: Option<Ending>,
    reaped: u64,
    last: Option<Pid>,
}

impl Reaper {
    /// Takes `SIGCHLD` and `signals` through a descriptor. `guards` are children that must not end.
    pub(super) fn adopt(
        signals: impl Iterator<Item = Signal>,
        guards: impl Iterator<Item = Pid>,
    ) -> Result<Self, SysError> {
        let mask = SigSet::from_iter(signals.chain([Signal::SIGCHLD]));
        let descriptor =
            SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
                .map_err(|e| SysError::plain("signalfd", e))?;
        let mut old_mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut old_mask))
            .map_err(|e| SysError::plain("sigprocmask", e))?;
        Ok(Self {
            signals: descriptor,
            old_mask,
            guards: guards.collect(),
            ended: HashMap::new(),
            stopped: BTreeSet::new(),
            ending: None,
            reaped: 0,
            last: None,
        })
    }

    /// Readable when a signal has come: call [`Reaper::look`] then.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Takes the signals that have come, and reaps all children that have ended.
    pub(super) fn look(&mut self) -> Result<(), SysError> {
        loop {
            match self.signals.read_signal() {
                Ok(Some(info)) => match i32::try_from(info.ssi_signo)
                    .ok()
                    .and_then(|n| Signal::try_from(n).ok())
                {
                    Some(Signal::SIGCHLD) | None => {}
                    Some(signal) => {
                        self.ending.get_or_insert(Ending::Signal(signal));
                    }
                },
                Ok(None) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::plain("read signalfd", errno)),
            }
        }
        loop {
            // Not nix's waitpid: for a process that died of a real-time signal it fails after
            // having reaped it.
            let flags = WaitPidFlag::WEXITED
                | WaitPidFlag::WSTOPPED
                | WaitPidFlag::WCONTINUED
                | WaitPidFlag::WNOHANG
                | WaitPidFlag::__WALL;
            match waitid(Whose::Any, flags) {
                Ok(None) | Err(Errno::ECHILD) => return Ok(()),
                Ok(Some(change)) if !change.ended() => {
                    self.stopped.insert(change.pid.as_raw());
                }
                Ok(Some(change)) => {
                    self.reaped += 1;
                    if self.guards.contains(&change.pid) {
                        self.ending = Some(Ending::Guard(change.pid));
                    }
                    self.last = Some(change.pid);
                    self.ended.insert(change.pid.as_raw(), change);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::plain("waitid", errno)),
            }
        }
    }

    /// Why the run has to end, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// How a child ended, if it has been reaped.
    pub(super) fn status_of(&self, pid: Pid) -> Option<Change> {
        self.ended.get(&pid.as_raw()).copied()
    }

    /// Children, orphans of the tree among them, that a signal has stopped: the kernel tells their
    /// parent, and nobody else.
    pub(super) fn stopped(&self) -> &BTreeSet<i32> {
        &self.stopped
    }

    /// Forgets the processes that were reaped or stopped so far (pids are reused).
    pub(super) fn forget(&mut self) {
        self.ended.clear();
        self.stopped.clear();
    }

    /// Forgets how the former owner of a number ended: another process has it now.
    pub(super) fn has_new_owner(&mut self, pid: Pid) {
        self.ended.remove(&pid.as_raw());
    }

    /// The process that was reaped last since the previous call: its pid is free, and most likely
    /// not reused yet.
    pub(super) fn take_last(&mut self) -> Option<Pid> {
        self.last.take()
    }

    /// How many processes were reaped in all.
    pub(super) fn reaped(&self) -> u64 {
        self.reaped
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // Best effort on the way out: it only fails for arguments that were accepted before.
        if let Err(errno) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.old_mask), None) {
            tracing::warn!(%errno, "could not restore the signal mask");
        }
    }
}
