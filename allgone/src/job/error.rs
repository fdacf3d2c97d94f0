//! The errors of jobs, with what the user can do.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error;

use crate::cgroup::CgroupError;
use crate::detect::DetectError;
use crate::error::{SysError, Target};
use crate::guard::RefusedError;
use crate::kill::KillError;
use crate::sys::spawn::{ChildFailure, Step};

/// A job could not be started. Nothing of it is left, unless the error says so.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its cgroup could not be made.
    #[error("could not make a cgroup for the job: {source}{}", help(remedy))]
    Cgroup {
        /// What was tried, on what, and the answer.
        source: CgroupError,
        /// What the user can do.
        remedy: &'static str,
    },
    /// Its first process could not be made.
    #[error("could not start the job: {source}{}", help(remedy))]
    Clone {
        /// What was tried, on what, and the answer.
        source: SysError,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The first process could not execute the program.
    #[error("could not start {}: {step} failed: {errno}{}", program.display(), help(remedy))]
    Child {
        /// What it was doing: a system call.
        step: &'static str,
        /// The program.
        program: PathBuf,
        /// What the kernel answered.
        errno: Errno,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The guard could not be asked for it.
    #[error("could not start the job: {0}")]
    Guard(#[source] RefusedError),
    /// A limit was asked for that cannot be set here.
    #[error("could not limit {what} of the job: {why}{}", help(remedy))]
    Limit {
        /// Which limit.
        what: &'static str,
        /// Why not.
        why: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// A name, an argument, a variable or the directory has a zero byte in it.
    #[error("could not pass {what} to a program: it contains a zero byte")]
    Nul {
        /// Which.
        what: &'static str,
    },
    /// A system call before that: a pipe, `/dev/null`, the job's own descriptor.
    #[error(transparent)]
    Sys(#[from] SysError),
}

fn help(remedy: &&'static str) -> String {
    if remedy.is_empty() {
        String::new()
    } else {
        format!(": {remedy}")
    }
}

impl StartError {
    /// The kernel's answer, if that is what went wrong.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Cgroup { source, .. } => source.errno(),
            Self::Clone { source, .. } | Self::Sys(source) => Some(source.errno),
            Self::Child { errno, .. } => Some(*errno),
            Self::Guard(_) | Self::Limit { .. } | Self::Nul { .. } => None,
        }
    }

    /// A step of a child, which was to execute the first of `paths` that there is.
    pub(crate) fn child(failure: ChildFailure, paths: &[CString], argv: &[CString]) -> Self {
        // With several paths it was looked for by a name.
        let name = match paths {
            [path] => Some(path),
            _ => argv.first(),
        };
        let name = name.map_or(&b""[..], |name| name.as_bytes());
        Self::Child {
            step: failure.step.name(),
            program: OsStr::from_bytes(name).into(),
            errno: failure.errno,
            remedy: of_step(failure.step, failure.errno),
        }
    }

    pub(crate) fn cgroup(source: CgroupError) -> Self {
        let remedy = source.errno().map_or("", of_cgroup);
        Self::Cgroup { source, remedy }
    }

    pub(crate) fn clone3(cgroup: &Path, error: &io::Error) -> Self {
        let source = SysError::io("clone a process into", Target::Path(cgroup.into()), error);
        let remedy = of_clone(source.errno);
        Self::Clone { source, remedy }
    }
}

const DESCRIPTORS: &str = "close some, or raise RLIMIT_NOFILE (`ulimit -n`)";

fn of_cgroup(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES | Errno::EPERM => {
            "use a cgroup that is delegated to this user \
             (`systemd-run --user --scope -p Delegate=yes`)"
        }
        Errno::EROFS => {
            "mount cgroup2 writable \
             (in a container: --cgroupns=private and a writable /sys/fs/cgroup)"
        }
        Errno::ENOENT | Errno::ENODEV => "the base has been removed: search for one again",
        Errno::EAGAIN => {
            "remove cgroups that are not used, or raise cgroup.max.descendants and cgroup.max.depth"
        }
        Errno::EMFILE | Errno::ENFILE => DESCRIPTORS,
        _ => "",
    }
}

fn of_clone(errno: Errno) -> &'static str {
    match errno {
        Errno::EAGAIN => {
            "a limit on tasks is reached: RLIMIT_NPROC (`ulimit -u`), pids.max of a cgroup above, \
                or kernel.pid_max"
        }
        Errno::EMFILE | Errno::ENFILE => DESCRIPTORS,
        Errno::ENODEV | Errno::ENOENT => "the cgroup was removed by another process",
        Errno::EBUSY => "a cgroup with controllers enabled for its children can have no members",
        Errno::EOPNOTSUPP => "the base is threaded: use one that is not",
        Errno::ETIMEDOUT => {
            "the new process did not reach its exec: is a cgroup above it frozen, \
             or its file system not answering?"
        }
        Errno::ENOSYS | Errno::EPERM => "allow clone3 or clone in the seccomp policy",
        Errno::EACCES => "use a cgroup that is delegated to this user",
        _ => "",
    }
}

/// What helps against a step of a child that has failed.
pub(crate) fn of_step(step: Step, errno: Errno) -> &'static str {
    match (step, errno) {
        (Step::Exec, Errno::ENOENT) => "is it in PATH, and the interpreter that it names there?",
        (Step::Exec, Errno::EACCES) => {
            "is it a file with execute permission, on a file system mounted without noexec?"
        }
        (Step::Exec, Errno::ENOEXEC) => {
            "it is not a program for this machine, and has no `#!` \
            line"
        }
        (Step::Exec, Errno::E2BIG) => "arguments and environment are too long",
        (Step::Dir, Errno::ENOENT | Errno::ENOTDIR) => "does its working directory exist?",
        (Step::Dir, Errno::EACCES) => "may its user enter its working directory?",
        (Step::Credentials, Errno::EPERM) => {
            "becoming another user needs CAP_SETUID and CAP_SETGID"
        }
        (Step::Rlimit, Errno::EPERM) => {
            "a limit above the present hard limit needs CAP_SYS_RESOURCE"
        }
        (Step::JoinCgroup, _) => {
            "clone3 is refused here, and the process may not move itself into its cgroup either"
        }
        (Step::Tasks, _) => "the process could not enter its v1 cgroup, which has its limits",
        _ => "",
    }
}

/// A job could not be waited for or ended. It is still there; dropping it tries again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JobError {
    /// A system call.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A cgroup file.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The kill.
    #[error(transparent)]
    Kill(#[from] KillError),
    /// The sleep.
    #[error(transparent)]
    Detect(#[from] DetectError),
}

impl JobError {
    /// Whether a kill has failed because there is no such cgroup any more.
    pub(super) fn is_of_a_removed_cgroup(&self) -> bool {
        let errno = match self {
            Self::Kill(KillError::Cgroup(e)) | Self::Cgroup(e) => e.errno(),
            Self::Kill(KillError::Sys(e)) | Self::Sys(e) => Some(e.errno),
            _ => None,
        };
        matches!(errno, Some(Errno::ENOENT | Errno::ENODEV))
    }
}
