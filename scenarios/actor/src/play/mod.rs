//! One process of a tree, playing its block.
//!
//! Everything here runs after the actor's last allocation, mostly in forked copies: no allocation,
//! no locks, no logging, no panics. What operations do is in one module for each family of them.

mod attack;
mod cgroup;
mod exec;
mod hold;
mod leave;
mod namespace;
mod own_cgroup;
mod ready;
mod session;
mod signal;
mod time;
mod tree;

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use allgone_sys::MonoNs;
use allgone_sys::actor::kill_self_at;
use allgone_sys::ledger::Ledger;
use allgone_sys::spawn::exit_now;
use nix::errno::Errno;
use nix::unistd::{Pid, getpid, getppid};

use crate::script::{How, Op, Script};
pub(crate) use exec::{Again, Program};
pub(crate) use own_cgroup::OwnCgroup;
pub(crate) use ready::ReadyAt;

/// `argv[0]` of an actor that is another program, re-run.
pub const NAME: &CStr = c"actor";

/// Exit code of a process that could not do what its script says. Its exit is in the ledger.
pub const REFUSED: i32 = 71;

/// What all processes of a tree play with.
#[derive(Debug)]
pub(crate) struct Setting {
    /// What they play.
    pub(crate) script: Script,
    /// Where they stamp.
    pub(crate) ledger: Ledger,
    /// The main process's cgroup, if the script makes others below it.
    pub(crate) home: Option<OwnCgroup>,
    /// Where "ready" is said, beside the ledger.
    pub(crate) ready: Option<ReadyAt>,
    /// When the kernel ends each process that is still there.
    pub(crate) deadline: Option<MonoNs>,
    /// The program itself, if the script executes it again.
    pub(crate) program: Option<Program>,
    /// A descriptor that the tree was given for the operations that use one.
    pub(crate) given: Option<OwnedFd>,
}

/// This process.
pub(crate) struct Player<'a> {
    setting: &'a Setting,
    home: Option<OwnCgroup>,
    /// Where it is: block, and number of the next operation.
    at: (usize, usize),
    /// Its row in the ledger.
    row: Option<usize>,
    pid: Pid,
    /// Its parent at birth, whether or not that is still its parent.
    parent: Pid,
    /// The child that it forked last.
    youngest: Option<Pid>,
    /// It has executed the program in the operation that comes next: how many times that is still
    /// to be done.
    execs_left: Option<u64>,
}

impl<'a> Player<'a> {
    /// The main process. It enters itself into the ledger, and announces itself if its observer has
    /// not: up to here only the observer knows it, by its pidfd.
    pub(crate) fn new(setting: &'a Setting) -> Self {
        let ledger = &setting.ledger;
        let pid = getpid();
        if ledger.sums().births == 0 {
            ledger.announce();
        }
        Self {
            setting,
            home: setting.home,
            at: (0, 0),
            row: ledger.born(pid.as_raw()),
            pid,
            parent: getppid(),
            youngest: None,
            execs_left: None,
        }
    }

    /// A process that has executed the program, where it was before.
    pub(crate) fn again(setting: &'a Setting, again: Again) -> Self {
        Self {
            setting,
            home: setting.home,
            at: (again.block, again.op),
            row: again.row,
            pid: getpid(),
            parent: Pid::from_raw(again.parent),
            youngest: None,
            execs_left: Some(again.left),
        }
    }

    /// Plays to the end of the block, or to the deadline.
    pub(crate) fn play(&mut self) -> ! {
        if self.keep_deadline().is_err() {
            self.leave(REFUSED);
        }
        self.go_on()
    }

    /// As [`Player::play`], in a process whose timer is set.
    fn go_on(&mut self) -> ! {
        while let Some(op) = self.next() {
            if self.step(op).is_err() {
                self.setting.ledger.not_played();
                self.leave(REFUSED);
            }
        }
        self.leave(0)
    }

    fn next(&mut self) -> Option<Op> {
        let (block, next) = self.at;
        self.at.1 += 1;
        self.setting.script.blocks.get(block)?.get(next).copied()
    }

    /// One operation: a line each, what it does is in the module of its family.
    fn step(&mut self, op: Op) -> Result<(), Errno> {
        match op {
            Op::Live { ns } => time::live(ns),
            Op::Fork { block, count } => self.fork_children(block, count),
            Op::Setsid => session::begin_session(),
            Op::Setpgid => session::begin_group(),
            Op::CloseAll => hold::close_all(),
            Op::IgnoreSignals => signal::ignore_all(),
            Op::AwaitParent => self.await_parent(),
            Op::Barrier { index, count } => self.pass_barrier(index, count),
            Op::WaitGo => self.wait_go(),
            Op::Ready => self.say_ready(),
            Op::ExitLeader => self.exit_leader(),
            Op::EnterCgroup => self.enter_cgroup(),
            Op::Bomb { each } => self.bomb(each),
            Op::ForkExitLoop => self.fork_exit_loop(),
            Op::Exit { code } => self.leave(code.into()),
            Op::Crash => self.crash(),
            Op::ForkParent { block } => self.fork_as(How::Beside, block),
            Op::ForkSilent { block } => self.fork_as(How::Silent, block),
            Op::Vfork { block } => self.fork_as(How::Vfork, block),
            Op::ForkPidns { block } => self.fork_as(How::Pidns, block),
            Op::Trace { block } => self.fork_as(How::Traced, block),
            Op::Reap => tree::reap(),
            Op::Subreaper => tree::become_subreaper(),
            Op::Stop => self.stop(),
            Op::AwaitStopped => self.await_stopped(),
            Op::Continue => self.let_go_on(),
            Op::Threads { count } => tree::start_threads(count),
            Op::Spin { ns } => time::spin(ns),
            Op::Nice { value } => time::be_nice(value),
            Op::Touch { bytes } => hold::touch(bytes),
            Op::OpenFiles { count } => hold::open_files(count),
            Op::Rename { name } => hold::rename(name),
            Op::EnterThreadedCgroup => self.enter_threaded_cgroup(),
            Op::EnterDeepCgroup { depth } => self.enter_deep_cgroup(depth),
            Op::LeaveCgroup => self.leave_cgroup(),
            Op::FreezeSelf | Op::FreezeLeft => self.freeze_last(true),
            Op::ThawLeft => self.freeze_last(false),
            Op::LockCgroup => self.lock_cgroup(),
            Op::Flap { count } => self.flap(count),
            Op::ChurnCgroups { count } => self.churn_cgroups(count),
            Op::Escape => self.escape(),
            Op::AttackCgroup => self.attack_cgroup(),
            Op::MountCgroup2 => namespace::mount_cgroup2(),
            Op::MountInside { count } => namespace::mount_inside(count),
            Op::EnterDeepDirectory { depth } => namespace::enter_deep_directory(depth),
            Op::Ask => self.ask(),
            Op::Fill => self.fill(),
            Op::Exec { count } => self.exec(count),
            Op::ExecFromThread => self.exec_from_thread(),
            Op::BecomeOther => self.become_other(),
            Op::IoWorkers { count } => hold::start_io_workers(count),
            Op::Realtime => time::be_realtime(),
            Op::LeaveObjects => self.leave_objects(),
            Op::ReadGiven => self.read_given(),
        }
    }

    /// Has the kernel end this process at the deadline. To be called in each new process: a timer
    /// is not inherited.
    fn keep_deadline(&self) -> Result<(), Errno> {
        self.setting.deadline.map_or(Ok(()), kill_self_at)
    }

    /// Stamps and ends. Nothing comes between the two.
    fn leave(&self, code: i32) -> ! {
        self.setting.ledger.exiting(self.row);
        exit_now(code)
    }
}
