//! The interface between a job and the process that starts its first process: the host itself
//! (`own.rs`), or another process on its behalf.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use nix::unistd::Pid;

use super::effects::JobEffects;
use super::error::StartError;
use crate::MonoNs;
use crate::base::Base;
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::sys::spawn::{Credentials, Entry, Rlimit, Session};
use crate::sys::wait::{Change, Usage};

/// Starts the first process of a job. Shared by all jobs of a base.
pub trait Starter: fmt::Debug + Send + Sync + 'static {
    /// What using it means for the host.
    fn effects(&self) -> JobEffects;

    /// A name for a job's cgroup below `base` that nothing else has.
    fn child_name(&self, base: &Base) -> Result<String, SysError>;

    /// Starts `request` in `cgroup`, which is fresh, empty and the job's own. Returns when the
    /// program is executed or it is known why it is not, within ten seconds.
    ///
    /// After an error a kill of `cgroup` ends everything that is left of the attempt.
    fn start(&self, cgroup: &Cgroup, request: &Request<'_>) -> Result<Started, StartError>;
}

/// The work of the child as data, prepared beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Paths to execute, the first that there is, as execvp(3).
    pub paths: &'a [CString],
    /// Arguments, the zeroth included.
    pub argv: &'a [CString],
    /// Environment, complete.
    pub envp: &'a [CString],
    /// Directory to change to; otherwise the host's.
    pub dir: Option<&'a CStr>,
    /// Descriptors with their numbers in the program; 0, 1 and 2 are among them. All others are
    /// closed.
    pub fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// Session and process group.
    pub session: Session,
    /// User to become.
    pub credentials: Option<Credentials>,
    /// No exec gives it privileges.
    pub no_new_privs: bool,
    /// Limits that are set; otherwise the host's.
    pub rlimits: &'a [Rlimit],
    /// File mode creation mask; otherwise the host's.
    pub umask: Option<u32>,
    /// `tasks` files of v1 cgroups to enter.
    pub tasks: &'a [BorrowedFd<'a>],
}

/// A first process that has executed its program.
#[derive(Debug)]
pub struct Started {
    /// Its number in the host's PID namespace.
    pub pid: Pid,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// How it came into its cgroup.
    pub entry: Entry,
    /// The reports about it.
    pub main: Box<dyn Main>,
}

/// The reports about a first process from its parent.
pub trait Main: fmt::Debug + Send + 'static {
    /// One descriptor for its whole life, readable when [`Main::hear`] has something to report.
    fn source<'a>(&'a self, pidfd: BorrowedFd<'a>) -> BorrowedFd<'a>;

    /// Returns one report that has not been returned yet. Never sleeps.
    fn hear(&mut self, pidfd: BorrowedFd<'_>) -> Heard;

    /// Whether it returns [`Heard::Look`] when a process other than the first ends.
    fn hints(&self) -> bool;
}

/// One report.
#[derive(Debug)]
pub enum Heard {
    /// Nothing new.
    Nothing,
    /// A process of the job has ended: `populated` should be read.
    Look,
    /// The first process has ended and was reaped. Reported once.
    Ended(MainEnd),
    /// Its parent is gone, or something else has reaped it: how it ended will not be known. Said
    /// once, and nothing after it.
    Lost(SysError),
}

/// The end of a first process.
#[derive(Clone, Copy, Debug)]
pub struct MainEnd {
    /// How it ended.
    pub change: Change,
    /// What it and its reaped children have used, if its parent knows.
    pub usage: Option<Usage>,
    /// When that was known.
    pub at: MonoNs,
}
