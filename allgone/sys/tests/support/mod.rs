//! Programs to start, and their output.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use allgone_sys::spawn::{Plan, Spawned};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// A script for the shell.
#[derive(Debug)]
pub(crate) struct Shell {
    exe: File,
    argv: [CString; 3],
}

impl Shell {
    /// The plain plan for it.
    pub(crate) fn plan(&self) -> Plan<'_> {
        Plan::new(self.exe.as_fd(), &self.argv)
    }
}

pub(crate) fn sh(script: &str) -> Shell {
    Shell {
        exe: File::open("/bin/sh").unwrap(),
        argv: ["sh", "-c", script].map(|word| CString::new(word).unwrap()),
    }
}

/// Waits for the end, and reaps.
pub(crate) fn end(spawned: &Spawned) -> WaitStatus {
    waitid(Id::PIDFd(spawned.pidfd.as_fd()), WaitPidFlag::WEXITED).unwrap()
}

/// The end to read from, and the end to write to.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap()
}

pub(crate) fn number(fd: &OwnedFd) -> i32 {
    fd.as_raw_fd()
}

/// All that was written, until there is no writer left.
pub(crate) fn output(read: OwnedFd) -> String {
    let mut said = String::new();
    File::from(read).read_to_string(&mut said).unwrap();
    said
}

/// As [`output`]; `None` if at the deadline there is still a writer that writes nothing.
pub(crate) fn output_within(read: &OwnedFd, limit: Duration) -> Option<String> {
    let mut fds = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, PollTimeout::try_from(limit).unwrap()).unwrap() == 0 {
        return None;
    }
    Some(output(read.try_clone().unwrap()))
}

/// From now on `call` fails in this thread, and in all that it starts.
pub(crate) fn refuse(call: i64, errno: Errno) {
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno((errno as i32).unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}
