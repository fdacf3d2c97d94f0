//! The machine's process: started in a process group of its own, observed, and ended with all that
//! it started.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::clock::Deadline;
use crate::process::ProcessError;

/// How long a machine that has closed its console may take to end by itself.
const ENDING: Duration = Duration::from_secs(2);

/// QEMU or user-mode Linux, killed and reaped with its whole group when it goes out of scope.
pub(super) struct Running(pub Child);

/// The state of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs.
    Runs,
    /// A signal has stopped it: it sends nothing more.
    Stopped,
    /// It has ended, and is not reaped.
    Ended,
}

impl Running {
    /// Starts it. Its standard output and error are pipes.
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let command = command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn();
        Ok(Self(child.map_err(|cause| ProcessError::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            cause,
        })?))
    }

    /// Waits a moment if it is `ending` by itself, then ends it and all that it started, and
    /// returns how it ended and its standard error.
    pub(super) fn end(&mut self, ending: bool) -> Result<(ExitStatus, String)> {
        if ending {
            let deadline = Deadline::after(ENDING);
            while life(&self.0)? == Life::Runs && deadline.left().is_some() {
                poll(&mut [], PollTimeout::from(10u8)).context("poll")?;
            }
        }
        // Not reaped yet, so the number of the group is still its own.
        kill_group(&self.0)?;
        let mut said = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr
                .read_to_string(&mut said)
                .context("cannot read QEMU's standard error")?;
        }
        Ok((self.0.wait().context("cannot wait for QEMU")?, said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `end` the child has been reaped, and its number may be another's.
        if matches!(self.0.try_wait(), Ok(None)) {
            drop(kill_group(&self.0));
            drop(self.0.wait());
        }
    }
}

/// Checks a child that has not been reaped.
pub(super) fn life(child: &Child) -> Result<Life> {
    let flags =
        WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    Ok(
        match waitid(Id::Pid(pid(child)), flags).context("cannot look at the machine's process")? {
            WaitStatus::StillAlive | WaitStatus::Continued(_) => Life::Runs,
            WaitStatus::Stopped(..) => Life::Stopped,
            _ => Life::Ended,
        },
    )
}

fn kill_group(child: &Child) -> Result<()> {
    match killpg(pid(child), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).context("cannot kill the machine's processes"),
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}
