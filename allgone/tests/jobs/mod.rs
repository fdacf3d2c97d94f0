//! What the tests of jobs have in common.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::sync::OnceLock;
use std::time::Duration;

use allgone::sys::time::now;
use allgone::{Base, Command, MonoNs};

/// A cgroup below which jobs can be started; without one nothing here can be tested.
pub(crate) fn base() -> Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    let found = BASE.get_or_init(|| {
        Base::find().expect("a cgroup v2 directory in which this process may make others")
    });
    found.clone()
}

/// A script for the shell.
pub(crate) fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A deadline that a test meets only if it fails.
pub(crate) fn soon() -> MonoNs {
    now() + Duration::from_secs(20)
}

/// Whether the process is dead, a zombie or reaped.
pub(crate) fn gone(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}
