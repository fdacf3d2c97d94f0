//! Waiting: for time, for the parent, for others, for the observer.

use std::os::fd::AsFd;
use std::time::Duration;

use allgone_sys::{pidfd, time};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getppid};

use super::Player;
use crate::script::FOREVER;

/// Sleeps as the script says; part of the workload, not a synchronisation.
pub(super) fn live(ns: u64) -> Result<(), Errno> {
    /// The kernel has no "for ever".
    const LONG: Duration = Duration::from_secs(365 * 24 * 3600);
    let span = if ns == FOREVER {
        LONG
    } else {
        Duration::from_nanos(ns)
    };
    let mut until = time::now() + span;
    loop {
        match time::sleep_until(until) {
            Ok(()) if ns == FOREVER => until = until + LONG,
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Uses a processor as long as the script says.
pub(super) fn spin(ns: u64) -> Result<(), Errno> {
    let until = time::now() + Duration::from_nanos(ns);
    while !until.has_passed() {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Nobody but root may lower it again, so a higher one stays.
pub(super) fn be_nice(value: u8) -> Result<(), Errno> {
    match allgone_sys::actor::set_nice(value) {
        Err(Errno::EACCES | Errno::EPERM) => Ok(()),
        other => other,
    }
}

pub(super) fn be_realtime() -> Result<(), Errno> {
    allgone_sys::actor::set_realtime(Pid::from_raw(0))
}

impl Player<'_> {
    /// Sleeps until the process that forked this one has ended.
    pub(super) fn await_parent(&self) -> Result<(), Errno> {
        if getppid() != self.parent {
            return Ok(());
        }
        let parent = match pidfd::open(self.parent) {
            Err(Errno::ESRCH) => return Ok(()),
            other => other?,
        };
        // If it ended in between, its pid may belong to another process by now.
        while getppid() == self.parent {
            match poll(
                &mut [PollFd::new(parent.as_fd(), PollFlags::POLLIN)],
                PollTimeout::NONE,
            ) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    pub(super) fn pass_barrier(&self, index: usize, count: u32) -> Result<(), Errno> {
        self.setting.ledger.barrier(index, count);
        Ok(())
    }

    pub(super) fn ask(&self) -> Result<(), Errno> {
        self.setting.ledger.ask();
        Ok(())
    }

    /// A signal handler could interrupt it; an actor has none.
    pub(super) fn read_given(&self) -> Result<(), Errno> {
        let given = self.setting.given.as_ref().ok_or(Errno::EBADF)?;
        match nix::unistd::read(given, &mut [0]) {
            Ok(1) => Ok(()),
            Ok(_) => Err(Errno::EPIPE),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn wait_go(&self) -> Result<(), Errno> {
        self.setting.ledger.wait_go();
        Ok(())
    }
}
