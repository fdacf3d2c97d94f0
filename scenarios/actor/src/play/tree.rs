//! Processes and threads: forks, and what forks for ever.

use allgone_sys::actor::{sleeping_thread, without_leader};
use allgone_sys::fork::{ActorFork, actor_fork};
use nix::errno::Errno;
use nix::sched::sched_yield;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{getpid, setsid};

use super::{Player, REFUSED, time};
use crate::script::{Each, FOREVER, How};

/// The identity of a process after a fork.
pub(super) enum Forked {
    Parent,
    Child,
    Refused,
}

impl Player<'_> {
    /// A plain fork.
    fn fork(&mut self) -> Forked {
        self.clone_as(How::Plain).unwrap_or(Forked::Refused)
    }

    /// Forks, with the bookkeeping: announced before, entered by the child, taken back if refused.
    /// An error is a refusal that is no limit's.
    fn clone_as(&mut self, how: How) -> Result<Forked, Errno> {
        let kind = match how {
            How::Plain | How::Traced => ActorFork::Plain,
            How::Beside => ActorFork::Beside,
            How::Silent => ActorFork::Silent,
            How::Vfork => ActorFork::Vfork,
            How::Pidns => ActorFork::Pidns,
        };
        self.setting.ledger.announce();
        match actor_fork(kind) {
            Ok(Some(child)) => {
                self.youngest = Some(child);
                Ok(Forked::Parent)
            }
            Ok(None) => {
                self.born(how);
                Ok(Forked::Child)
            }
            // A plain fork is refused by limits alone.
            Err(errno) if how == How::Plain || errno == Errno::EAGAIN || errno == Errno::ENOMEM => {
                self.setting.ledger.refused();
                Ok(Forked::Refused)
            }
            Err(errno) => {
                self.setting.ledger.take_back();
                Err(errno)
            }
        }
    }

    /// The first thing that a new process does.
    pub(super) fn born(&mut self, how: How) {
        if how != How::Beside {
            self.parent = self.pid;
        }
        self.youngest = None;
        self.pid = getpid();
        self.row = self.setting.ledger.born(self.pid.as_raw());
        if self.keep_deadline().is_err() || how == How::Traced && ptrace::traceme().is_err() {
            self.leave(REFUSED);
        }
    }

    pub(super) fn fork_as(&mut self, how: How, block: usize) -> Result<(), Errno> {
        if let Forked::Child = self.clone_as(how)? {
            self.at = (block, 0);
        }
        Ok(())
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

    pub(super) fn fill(&mut self) -> Result<(), Errno> {
        loop {
            match self.fork() {
                Forked::Parent => {}
                Forked::Child => return time::live(FOREVER),
                Forked::Refused => return Ok(()),
            }
        }
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

/// Returns when there is no child any more. A stop of a traced child is reported as well, and is no
/// end.
pub(super) fn reap() -> Result<(), Errno> {
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}

pub(super) fn become_subreaper() -> Result<(), Errno> {
    set_child_subreaper(true)
}

pub(super) fn start_threads(count: u32) -> Result<(), Errno> {
    (0..count).try_for_each(|_| sleeping_thread())
}

/// Lets other processes run, which may free a place under the limit.
fn yield_once() {
    match sched_yield() {
        Ok(()) | Err(_) => {}
    }
}
