//! Starting the process that is watched: born in its cgroup, with a pidfd before it runs.
//!
//! [`Program`] is what to execute, with everything opened beforehand. [`SpawnOptions`] holds what
//! detectors and strategies require of its birth: a detector's `arm` and a strategy's `prepare`
//! change it. [`Command`](crate::Command) prepares a program in the manner of the standard library.

mod child;
mod options;
mod request;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sched::CpuSet;
use thiserror::Error;

use crate::set::ProcessSet;
use crate::sys::spawn::{self, Credentials, Exe, Rlimit, Session};
use crate::sys::time;

pub use child::Child;
pub use options::{Gate, SpawnOptions};
pub use request::Request;

/// A program that is ready to be started.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The program.
    pub exe: Exe<'a>,
    /// Arguments, the zeroth included.
    pub argv: &'a [CString],
    /// Environment, complete.
    pub envp: &'a [CString],
    /// Descriptors to keep, each with the number it gets. Everything else is closed at exec.
    pub inherit: &'a [(BorrowedFd<'a>, RawFd)],
    /// Session and process group.
    pub session: Session,
    /// User to become.
    pub credentials: Option<Credentials>,
    /// No exec gives it privileges. Implied by `credentials`.
    pub no_new_privs: bool,
    /// With `credentials`: leaves out the `no_new_privs` that comes with them, so that set-user-ID
    /// programs get their users.
    pub heeds_setuid: bool,
    /// Processors that it, and what it starts, may run on; otherwise the caller's.
    pub affinity: Option<CpuSet>,
    /// Limits of the process.
    pub rlimits: &'a [Rlimit],
    /// File mode creation mask; otherwise the caller's.
    pub umask: Option<u32>,
    /// Directory to change to; otherwise the caller's.
    pub dir: Option<&'a CStr>,
}

impl<'a> Program<'a> {
    /// The plain program: a session of its own, the caller's authority, no environment, no
    /// descriptors.
    pub fn new(exe: impl Into<Exe<'a>>, argv: &'a [CString]) -> Self {
        Self {
            exe: exe.into(),
            argv,
            envp: &[],
            inherit: &[],
            session: Session::New,
            credentials: None,
            no_new_privs: false,
            heeds_setuid: false,
            affinity: None,
            rlimits: &[],
            umask: None,
            dir: None,
        }
    }
}

/// A program could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The parent's side.
    #[error("could not start the workload: {0}")]
    Clone(#[source] io::Error),
    /// The child's side.
    #[error("could not start the workload: {step} failed in the child: {errno}")]
    Child {
        /// What it was doing.
        step: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
}

impl crate::error::Reason for SpawnError {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Clone(e) => e.raw_os_error().map(Errno::from_raw),
            Self::Child { errno, .. } => Some(*errno),
        }
    }
}

impl Program<'_> {
    /// Starts it in the cgroup of `set`, the way `options` says.
    ///
    /// Errors: as clone3(2); see [`spawn::spawn`]. [`Child::failure`] says what failed between
    /// clone and exec.
    pub fn spawn(&self, set: &ProcessSet, options: &SpawnOptions) -> Result<Child, SpawnError> {
        self.spawn_in(set.cgroup().as_fd(), options)
    }

    /// As [`Program::spawn`], in the cgroup with this directory.
    pub fn spawn_in(
        &self,
        cgroup: BorrowedFd<'_>,
        options: &SpawnOptions,
    ) -> Result<Child, SpawnError> {
        let mut inherit = self.inherit.to_vec();
        inherit.extend(options.kept());
        let tasks: Vec<BorrowedFd<'_>> = options.tasks.iter().map(AsFd::as_fd).collect();
        let plan = spawn::Plan {
            envp: self.envp,
            cgroup: Some(options.birthplace.as_ref().map_or(cgroup, AsFd::as_fd)),
            clone_flags: options.clone_flags,
            session: self.session,
            credentials: self.credentials,
            no_new_privs: self.no_new_privs,
            heeds_setuid: self.heeds_setuid,
            inherit: &inherit,
            gate: options.gate.as_ref().map(AsFd::as_fd),
            init: options.init,
            parent_death_signal: options.parent_death_signal,
            affinity: self.affinity,
            tasks: &tasks,
            rlimits: self.rlimits,
            umask: self.umask,
            dir: self.dir,
            ..spawn::Plan::new(self.exe, self.argv)
        };
        let before = time::now();
        let spawned = spawn::spawn(&plan).map_err(SpawnError::Clone)?;
        let after = time::now();
        Child::of(spawned, (before.0, after.0)).map_err(SpawnError::Clone)
    }
}
