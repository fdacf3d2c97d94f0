//! What a first process is to be, as data that can be handed to another process.

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, RawFd};

use crate::sys::spawn::{Credentials, Rlimit, Session};

/// A program for another process to start, or for this one: everything is prepared, nothing is
/// looked up.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Paths to execute, the first that there is, as execvp(3).
    pub paths: &'a [CString],
    /// Arguments, the zeroth included.
    pub argv: &'a [CString],
    /// Environment, complete.
    pub envp: &'a [CString],
    /// Directory to change to, as the user that it has become; otherwise the host's.
    pub dir: Option<&'a CStr>,
    /// Descriptors with their numbers in the program. All others are closed.
    pub fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// Session and process group.
    pub session: Session,
    /// User to become, with no groups, no capabilities and `no_new_privs`.
    pub credentials: Option<Credentials>,
    /// No exec gives it privileges.
    pub no_new_privs: bool,
    /// Limits that are set; otherwise the host's of now.
    pub rlimits: &'a [Rlimit],
    /// File mode creation mask; otherwise the host's; with a guard, the one that the
    /// host had when the guard was started.
    pub umask: Option<u32>,
    /// `tasks` files of v1 cgroups to enter.
    pub tasks: &'a [BorrowedFd<'a>],
}

impl<'a> Request<'a> {
    /// The default request: a session of its own, no environment, no descriptors.
    pub fn new(paths: &'a [CString], argv: &'a [CString]) -> Self {
        Self {
            paths,
            argv,
            envp: &[],
            dir: None,
            fds: &[],
            session: Session::New,
            credentials: None,
            no_new_privs: false,
            rlimits: &[],
            umask: None,
            tasks: &[],
        }
    }
}
