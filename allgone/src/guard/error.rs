//! The errors of a guard, with what the user can do.

use std::fmt;

use nix::errno::Errno;
use thiserror::Error;

use crate::cgroup::CgroupError;
use crate::error::SysError;
use crate::sys::spawn::ChildFailure;

/// A guard could not be started. Nothing of it is left.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Its cgroup could not be made.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A descriptor that it needs could not be made.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// None of the ways to run its program worked.
    #[error("could not run the guard: {}; {REMEDY}", list(attempts))]
    NotRun {
        /// What was tried, in order.
        attempts: Vec<Attempt>,
    },
    /// A name has a zero byte in it.
    #[error("could not name the guard's cgroups {0:?}: a name has no slash and no zero byte")]
    Name(String),
}

const REMEDY: &str =
    "install the program `allgone-guard` and name its path in the options, or allow a fork there";

/// One way to run the guard's program, which did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The way, in words.
    pub way: String,
    /// The system call.
    pub step: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.way, self.step, self.errno)?;
        match (self.step, self.errno) {
            ("memfd_create", Errno::EACCES) => {
                f.write_str(" (vm.memfd_noexec is 2: no file in memory may be executed)")
            }
            ("memfd_create", Errno::ENOENT) => f.write_str(
                " (no program is embedded: none for this architecture, or no linker at build time)",
            ),
            ("execveat", Errno::EACCES | Errno::EPERM) => f.write_str(
                " (forbidden by vm.memfd_noexec, a security module, seccomp, or a noexec mount)",
            ),
            _ => Ok(()),
        }
    }
}

fn list(attempts: &[Attempt]) -> String {
    let each: Vec<String> = attempts.iter().map(Attempt::to_string).collect();
    each.join("; ")
}

/// A guard did not start a program.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RefusedError {
    /// The process was made, and could not become the program.
    #[error("could not start the program: {} failed: {}", .0.step.name(), .0.errno)]
    Child(ChildFailure),
    /// The guard could not make the process, or not watch its cgroup: `EAGAIN` a limit on tasks, or
    /// 16 384 jobs; `ENODEV` or `ENOENT` the cgroup has been removed; as clone3(2).
    #[error("could not start the program: the guard could not make a process in its cgroup: {0}")]
    Clone(Errno),
    /// The guard had no descriptor left to receive the request.
    #[error(
        "could not start the program: the guard has no free descriptors: \
         raise RLIMIT_NOFILE (`ulimit -Hn`) before it is started"
    )]
    Descriptors,
    /// The request is too large.
    #[error("could not ask the guard: {what}: {count}, and the most is {most}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        count: usize,
        /// The bound.
        most: usize,
    },
    /// The guard has died. Its second ends and removes what it has started.
    #[error("could not ask the guard: it has died")]
    Died,
    /// This process is a fork of the guard's host.
    #[error("could not ask the guard: it belongs to the process that this one was forked from")]
    Fork,
    /// The process did not reach its exec in time: its cgroup is frozen, or a file system does not
    /// answer. It may still: kill its cgroup.
    #[error("could not start the program: no exec within {0} s (is its cgroup frozen?)")]
    Late(u64),
    /// A system call of the host's.
    #[error(transparent)]
    Sys(#[from] SysError),
}
