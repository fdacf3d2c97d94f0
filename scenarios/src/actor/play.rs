//! One process of a tree, playing its block.
//!
//! Everything here runs after the actor's last allocation, mostly in forked copies: no allocation,
//! no locks, no logging, no panics.

use std::os::fd::AsFd;
use std::time::Duration;

use harness::sys::actor::{close_all, ignore_signals, without_leader};
use harness::sys::fork::actor_fork;
use harness::sys::ledger::Ledger;
use harness::sys::spawn::exit_now;
use harness::sys::{pidfd, time};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::sched_yield;
use nix::unistd::{Pid, getpid, getppid, setpgid, setsid};

use super::REFUSED;
use super::own_cgroup::OwnCgroup;
use crate::script::{FOREVER, Op, Script};

/// The identity of a process after a fork.
enum Forked {
    Parent,
    Child,
    Refused,
}

/// This process.
pub(super) struct Player<'a> {
    script: &'a Script,
    ledger: &'a Ledger,
    home: Option<OwnCgroup>,
    /// Where it is: block, and number of the next operation.
    at: (usize, usize),
    /// Its row in the ledger.
    row: Option<usize>,
    pid: Pid,
    /// The process that forked it, whether or not that is still its parent.
    parent: Pid,
}

impl<'a> Player<'a> {
    /// The main process. It enters itself into the ledger, and announces itself if its observer has
    /// not: up to here only the observer knows it, by its pidfd.
    pub(super) fn new(script: &'a Script, ledger: &'a Ledger, home: Option<OwnCgroup>) -> Self {
        let pid = getpid();
        if ledger.sums().births == 0 {
            ledger.announce();
        }
        let row = ledger.born(pid.as_raw());
        Self {
            script,
            ledger,
            home,
            at: (0, 0),
            row,
            pid,
            parent: getppid(),
        }
    }

    /// Plays to the end of the block.
    pub(super) fn play(&mut self) -> ! {
        while let Some(op) = self.next() {
            if self.step(op).is_err() {
                self.leave(REFUSED);
            }
        }
        self.leave(0)
    }

    fn next(&mut self) -> Option<Op> {
        let (block, next) = self.at;
        self.at.1 += 1;
        self.script.blocks.get(block)?.get(next).copied()
    }

    fn step(&mut self, op: Op) -> Result<(), Errno> {
        match op {
            Op::Live { ns } => live(ns),
            Op::Fork { block, count } => {
                for _ in 0..count {
                    if let Forked::Child = self.fork() {
                        self.at = (block, 0);
                        break;
                    }
                }
                Ok(())
            }
            Op::Setsid => setsid().map(|_| ()),
            Op::Setpgid => setpgid(Pid::from_raw(0), Pid::from_raw(0)),
            Op::CloseAll => close_all(),
            Op::IgnoreSignals => {
                ignore_signals();
                Ok(())
            }
            Op::AwaitParent => self.await_parent(),
            Op::Barrier { index, count } => {
                self.ledger.barrier(index, count);
                Ok(())
            }
            Op::WaitGo => {
                self.ledger.wait_go();
                Ok(())
            }
            Op::Ready => {
                self.ledger.set_ready();
                Ok(())
            }
            Op::ShedLeader => Err(without_leader(self, Self::play)),
            Op::Burrow => self
                .home
                .as_mut()
                .ok_or(Errno::ENOENT)?
                .burrow(self.pid.as_raw()),
            Op::Bomb { setsid } => self.bomb(setsid),
            Op::BurrowBomb => self.burrow_bomb(),
            Op::Hop => self.hop(),
        }
    }

    /// Forks, with the bookkeeping: announced before, entered by the child, taken back if refused.
    fn fork(&mut self) -> Forked {
        self.ledger.announce();
        match actor_fork() {
            Ok(Some(_)) => Forked::Parent,
            Ok(None) => {
                self.parent = self.pid;
                self.pid = getpid();
                self.row = self.ledger.born(self.pid.as_raw());
                Forked::Child
            }
            Err(_) => {
                self.ledger.refused();
                Forked::Refused
            }
        }
    }

    /// Stamps and ends. Nothing comes between the two.
    fn leave(&self, code: i32) -> ! {
        self.ledger.exiting(self.row);
        exit_now(code)
    }

    /// Sleeps until the process that forked this one has ended.
    fn await_parent(&self) -> Result<(), Errno> {
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

    fn bomb(&mut self, scatter: bool) -> ! {
        // Refused to the leader of a process group, which the main process is.
        let mut apart = scatter && setsid().is_ok();
        loop {
            match self.fork() {
                Forked::Parent => {}
                Forked::Child => apart = scatter && setsid().is_ok(),
                Forked::Refused => {
                    if apart || !scatter {
                        self.ledger.set_ready();
                    }
                    yield_once();
                }
            }
        }
    }

    fn burrow_bomb(&mut self) -> ! {
        let mut moved = false;
        loop {
            match self.fork() {
                Forked::Parent => {}
                Forked::Child => {
                    let pid = self.pid.as_raw();
                    moved = self
                        .home
                        .as_mut()
                        .is_some_and(|home| home.burrow(pid).is_ok());
                }
                Forked::Refused => {
                    if moved {
                        self.ledger.set_ready();
                    }
                    yield_once();
                }
            }
        }
    }

    fn hop(&mut self) -> ! {
        loop {
            match self.fork() {
                Forked::Parent => self.leave(0),
                Forked::Child => {}
                Forked::Refused => yield_once(),
            }
        }
    }
}

/// Sleeps as the script says; part of the workload, not a synchronisation.
fn live(ns: u64) -> Result<(), Errno> {
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

/// Lets other processes run, which may free a place under the limit.
fn yield_once() {
    match sched_yield() {
        Ok(()) | Err(_) => {}
    }
}
