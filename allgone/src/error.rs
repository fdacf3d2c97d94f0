//! Errors of system calls as data: operation, target and errno.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// What an operation was applied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file or directory.
    Path(PathBuf),
    /// A process by number.
    Pid(i32),
    /// Nothing that has a name.
    Nothing,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, " {}", path.display()),
            Self::Pid(pid) => write!(f, " of pid {pid}"),
            Self::Nothing => Ok(()),
        }
    }
}

/// A system call that failed: operation, target, answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not {op}{target}: {errno}")]
pub struct SysError {
    /// What was tried: a system call or the use of a cgroup file, such as `write "1" to`.
    pub op: &'static str,
    /// On what.
    pub target: Target,
    /// What the kernel answered.
    pub errno: Errno,
}

impl SysError {
    /// On a path.
    pub fn path(op: &'static str, path: impl AsRef<Path>, errno: Errno) -> Self {
        Self {
            op,
            target: Target::Path(path.as_ref().to_path_buf()),
            errno,
        }
    }

    /// On a process.
    pub fn pid(op: &'static str, pid: i32, errno: Errno) -> Self {
        Self {
            op,
            target: Target::Pid(pid),
            errno,
        }
    }

    /// On nothing that has a name.
    pub fn plain(op: &'static str, errno: Errno) -> Self {
        Self {
            op,
            target: Target::Nothing,
            errno,
        }
    }

    /// From an error of std, which holds an errno whenever it came from the kernel.
    pub fn io(op: &'static str, target: Target, error: &io::Error) -> Self {
        Self {
            op,
            target,
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)),
        }
    }
}

/// A reason: an error, or words where no error was the reason.
pub trait Reason: fmt::Display {
    /// The kernel's answer, if that is what it is about.
    fn errno(&self) -> Option<Errno>;
}

impl Reason for SysError {
    fn errno(&self) -> Option<Errno> {
        Some(self.errno)
    }
}

impl Reason for io::Error {
    fn errno(&self) -> Option<Errno> {
        self.raw_os_error().map(Errno::from_raw)
    }
}

impl Reason for &str {
    fn errno(&self) -> Option<Errno> {
        None
    }
}

impl Reason for String {
    fn errno(&self) -> Option<Errno> {
        None
    }
}

/// Repeats `call` while it answers `EINTR`.
pub fn retry_eintr<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}
