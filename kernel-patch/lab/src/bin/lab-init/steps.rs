//! One step after the other: a program, its end, and the end of all processes that it left.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::clock::Deadline;
use lab::protocol::{Ended, Message, Step};
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::channel::Channel;
use crate::streams::Streams;

/// Runs one step with its output passed on line by line, until its first process has ended or its
/// limit is over.
pub(crate) fn run_step(
    step: &Step,
    env: &[(String, String)],
    children: &SignalFd,
    channel: &mut Channel,
) -> Result<Ended> {
    let Some((program, arguments)) = step.argv.split_first() else {
        bail!("a step without a program")
    };
    fs::create_dir_all(&step.dir).with_context(|| format!("mkdir {}", step.dir))?;
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([
            ("PATH", "/bin:/sbin"),
            ("HOME", "/root"),
            ("TMPDIR", "/tmp"),
            ("TERM", "dumb"),
        ])
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(&step.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            channel.say(&Message::Err(format!(
                "lab-init: cannot start {program}: {error}"
            )))?;
            return Ok(Ended::NotStarted(error.raw_os_error().unwrap_or(0)));
        }
    };
    let deadline = Deadline::after(Duration::from_secs(u64::from(step.limit_s)));
    let mut streams = Streams::of(&mut child)?;
    loop {
        let Some(left) = deadline.left() else {
            streams.pass_on(channel, true)?;
            return Ok(Ended::TimedOut);
        };
        streams.wait(children, left)?;
        streams.pass_on(channel, false)?;
        while children.read_signal().context("read signalfd")?.is_some() {}
        if let Some(status) = reap(&child)? {
            streams.pass_on(channel, true)?;
            return Ok(ended(status));
        }
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Exit(-1),
    }
}

/// Reaps every child that has ended, orphans included; the status of `main` if it is one of them.
fn reap(main: &Child) -> Result<Option<ExitStatus>> {
    let mut of_main = None;
    loop {
        let (pid, raw) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code << 8),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(of_main),
            Ok(_) | Err(Errno::EINTR) => continue,
            // A process died of a real-time signal, which nix has no name for, and has been reaped.
            Err(Errno::EINVAL) if is_there(main)? => continue,
            Err(Errno::EINVAL) => bail!("the program died of a real-time signal"),
            Err(errno) => return Err(errno).context("waitpid"),
        };
        if u32::try_from(pid.as_raw()).is_ok_and(|pid| pid == main.id()) {
            of_main = Some(ExitStatus::from_raw(raw));
        }
    }
}

/// Whether `child` has not been reaped.
fn is_there(child: &Child) -> Result<bool> {
    match kill(Pid::from_raw(child.id().cast_signed()), None) {
        Ok(()) | Err(Errno::EPERM) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(errno).context("kill"),
    }
}

/// Kills all processes that a step left and returns their number. `kill(-1)` spares PID 1.
pub(crate) fn kill_rest() -> Result<usize> {
    let deadline = Deadline::after(Duration::from_secs(20));
    let mut left = 0;
    loop {
        match kill(Pid::from_raw(-1), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno).context("kill -1"),
        }
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {
                if deadline.left().is_none() {
                    bail!("a process of the last step does not die of SIGKILL within 20 s");
                }
                // Nothing to wait for but another child's end.
                poll(&mut [], PollTimeout::from(5u8)).context("poll")?;
            }
            // The second: as in `reap`.
            Ok(_) | Err(Errno::EINVAL) => left += 1,
            Err(Errno::ECHILD) => return Ok(left),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("waitpid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_may_die_of_any_signal() {
        let mut main = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let mut orphan = Command::new("sh")
            .args(["-c", "kill -40 $$"])
            .spawn()
            .unwrap();
        while is_there(&orphan).unwrap() {
            assert_eq!(reap(&main).unwrap(), None);
        }
        drop(main.stdin.take());
        let end = loop {
            if let Some(end) = reap(&main).unwrap() {
                break end;
            }
        };
        assert!(end.success());
        assert!(main.wait().is_err(), "reaped already");
        assert!(orphan.wait().is_err(), "reaped already");
    }
}
