//! Processes and threads: forks, and what forks for ever.

use allgone_sys::actor::without_leader;
use allgone_sys::fork::actor_fork;
use nix::errno::Errno;
use nix::sched::sched_yield;
use nix::unistd::{getpid, setsid};

use super::{Player, REFUSED};
use crate::script::Each;

/// The identity of a process after a fork.
pub(super) enum Forked {
    Parent,
    Child,
    Refused,
}

impl Player<'_> {
    /// Forks, with the bookkeeping: announced before, entered by the child, taken back if refused.
    pub(super) fn fork(&mut self) -> Forked {
        self.setting.ledger.announce();
        match actor_fork() {
            Ok(Some(_)) => Forked::Parent,
            Ok(None) => {
                self.born();
                Forked::Child
            }
            Err(_) => {
                self.setting.ledger.refused();
                Forked::Refused
            }
        }
    }

    /// The first thing that a new process does.
    fn born(&mut self) {
        self.parent = self.pid;
        self.pid = getpid();
        self.row = self.setting.ledger.born(self.pid.as_raw());
        if self.keep_deadline().is_err() {
            self.leave(REFUSED);
        }
    }

    pub(super) fn fork_children(&mut self, block: usize, count: u32) -> Result<(), Errno> {
        for _ in 0..count {
            if let Forked::Child = self.fork() {
                self.at = (block, 0);
                break;
            }
        }
        Ok(())
    }

    /// Returns only if it failed.
    pub(super) fn exit_leader(&mut self) -> Result<(), Errno> {
        Err(without_leader(self, Self::go_on))
    }

    pub(super) fn bomb(&mut self, each: Each) -> ! {
        // A session is refused to the leader of a process group, which the main process is. A
        // cgroup of its own is what copies make.
        let mut done = match each {
            Each::Nothing => true,
            Each::Setsid => setsid().is_ok(),
            Each::EnterCgroup => false,
        };
        loop {
            match self.fork() {
                Forked::Parent => {}
                Forked::Child => done = self.prepare_copy(each),
                Forked::Refused => {
                    // Where "ready" cannot be said, the bomb goes on all the same.
                    if done && self.say_ready().is_err() {
                        done = false;
                    }
                    yield_once();
                }
            }
        }
    }

    fn prepare_copy(&mut self, each: Each) -> bool {
        match each {
            Each::Nothing => true,
            Each::Setsid => setsid().is_ok(),
            Each::EnterCgroup => self.enter_cgroup().is_ok(),
        }
    }

    pub(super) fn fork_exit_loop(&mut self) -> ! {
        loop {
            match self.fork() {
                Forked::Parent => self.leave(0),
                Forked::Child => {}
                Forked::Refused => yield_once(),
            }
        }
    }
}

/// Lets other processes run, which may free a place under the limit.
fn yield_once() {
    match sched_yield() {
        Ok(()) | Err(_) => {}
    }
}
