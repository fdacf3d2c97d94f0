//! What the tests of real processes share.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use allgone::{Base, cgroup::Cgroup};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// The base of this machine, if it has one. If none can be had, that is asserted: the error says
/// what was tried and what would help.
pub(crate) fn base() -> Option<Base> {
    match Base::find() {
        Ok(base) => Some(base),
        Err(none) => {
            assert!(
                !none.attempts.is_empty() && !none.remedies.is_empty(),
                "{none}"
            );
            assert!(std::env::var_os("HARNESS_REQUIRE").is_none(), "{none}");
            None
        }
    }
}

/// A shell in a cgroup that has run its script up to `echo ready`.
#[derive(Debug)]
pub(crate) struct Shell(Child);

impl Shell {
    /// Starts it. `$0` is the directory of the cgroup.
    pub(crate) fn start(cgroup: &Cgroup, script: &str) -> Self {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("echo 0 > \"$0/cgroup.procs\" && {script}"))
            .arg(cgroup.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        assert!(said.is_ok() && line == "ready\n", "{said:?} {line:?}");
        Self(child)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Waits until it has ended, and leaves it a zombie.
    pub(crate) fn wait_ended(&self) {
        let id = Id::Pid(Pid::from_raw(self.pid()));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    }

    /// Reaps it.
    pub(crate) fn reap(mut self) {
        self.0.wait().unwrap();
    }
}
