//! Signals.

use allgone_sys::actor::die_of_segv;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::Player;

pub(super) fn ignore_all() -> Result<(), Errno> {
    allgone_sys::actor::ignore_signals();
    Ok(())
}

impl Player<'_> {
    /// The exit is stamped before: a core dump takes its time after that.
    pub(super) fn crash(&self) -> ! {
        self.setting.ledger.exiting(self.row);
        die_of_segv()
    }

    pub(super) fn stop(&self) -> Result<(), Errno> {
        // Not raise(3): the C library does not know the ids of a process that it has not forked.
        kill(self.pid, Signal::SIGSTOP)
    }

    /// It may have ended as well. The child stays to be reaped.
    pub(super) fn await_stopped(&self) -> Result<(), Errno> {
        let child = self.youngest.ok_or(Errno::ECHILD)?;
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        loop {
            match waitid(Id::Pid(child), flags | WaitPidFlag::__WALL) {
                Err(Errno::EINTR) => {}
                other => return other.map(|_| ()),
            }
        }
    }

    pub(super) fn let_go_on(&self) -> Result<(), Errno> {
        kill(self.youngest.ok_or(Errno::ECHILD)?, Signal::SIGCONT)
    }
}
