//! Starting processes of a trial, and taking in the end of every child.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use allgone::sys::pidfd;
use allgone::sys::time::now;
use allgone::sys::wait::{Change, Whose, waitid};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;
use std::os::fd::AsFd;

use super::ground::LAUNCHER;
use super::terminal::FOREGROUND;
use super::{DIR, Order};

/// Children that have ended, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeMap<i32, Change>);

impl Ended {
    /// Takes in all children that have ended: a zombie would count against a limit on tasks.
    pub(super) fn reap(&mut self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        while let Ok(Some(change)) = waitid(Whose::Any, flags) {
            self.0.insert(change.pid.as_raw(), change);
        }
    }

    pub(super) fn of(&self, pid: i32) -> Option<Change> {
        self.0.get(&pid).copied()
    }
}

/// A process that this one has started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
}

/// The group of a new process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group {
    Own,
    Of(i32),
}

/// How a process is started.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) stdin: Stdio,
    pub(super) stdout: Stdio,
    pub(super) stderr: Stdio,
}

impl Streams {
    /// None, but for errors.
    pub(super) fn quiet(errors: &str) -> Result<Self, String> {
        let file = File::options().append(true).create(true).open(errors);
        let file = file.map_err(|e| format!("{errors}: {e}"))?;
        Ok(Self {
            stdin: Stdio::null(),
            stdout: Stdio::null(),
            stderr: file.into(),
        })
    }
}

/// Moves itself into the launcher's cgroup, and executes the arguments.
const ENTER: &str = r#"echo 0 > "$0" && exec "$@""#;

/// Starts a command of the adapter in the launcher's cgroup.
pub(super) fn start(
    words: &[String],
    order: &Order,
    group: Group,
    streams: Streams,
) -> Result<Started, String> {
    enter(Command::new("/bin/sh"), words, order, group, streams)
}

/// The same, in the foreground of the terminal.
pub(super) fn start_in_front(
    words: &[String],
    order: &Order,
    group: Group,
    streams: Streams,
) -> Result<Started, String> {
    let mut command = Command::new("python3");
    command.args(["-c", FOREGROUND, "/bin/sh"]);
    enter(command, words, order, group, streams)
}

fn enter(
    mut command: Command,
    words: &[String],
    order: &Order,
    group: Group,
    streams: Streams,
) -> Result<Started, String> {
    command.args(["-c", ENTER, &format!("{LAUNCHER}/cgroup.procs")]);
    if let Some(user) = order.user {
        command.args(["setpriv", "--clear-groups", "--inh-caps=-all"]);
        command.args([format!("--reuid={user}"), format!("--regid={user}")]);
    }
    command.args(words);
    environment(&mut command, order);
    spawn(command, group, streams).map_err(|e| format!("could not start {words:?}: {e}"))
}

pub(super) fn environment(command: &mut Command, order: &Order) {
    command
        .env_clear()
        .env("PATH", order.path.join(":"))
        .env("HOME", format!("{DIR}/home"))
        .env("LANG", "C.UTF-8")
        .current_dir(DIR);
}

#[allow(
    clippy::zombie_processes,
    reason = "`Ended::reap` takes in every child"
)]
fn spawn(mut command: Command, group: Group, streams: Streams) -> std::io::Result<Started> {
    command.process_group(match group {
        Group::Own => 0,
        Group::Of(leader) => leader,
    });
    command
        .stdin(streams.stdin)
        .stdout(streams.stdout)
        .stderr(streams.stderr);
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let pidfd = pidfd::open(Pid::from_raw(pid)).map_err(std::io::Error::from)?;
    Ok(Started { pid, pidfd })
}

/// A process that does nothing and must not be hit.
pub(super) fn stranger(order: &Order, group: Group, inside: bool) -> Result<Started, String> {
    let words = ["sleep", "1000"];
    let quiet = || Streams::quiet(&format!("{DIR}/strangers"));
    let failed = |e: std::io::Error| format!("could not start a stranger: {e}");
    match inside {
        true => start(&words.map(String::from), order, group, quiet()?),
        false => {
            let mut command = Command::new(words[0]);
            command.arg(words[1]);
            environment(&mut command, order);
            spawn(command, group, quiet()?).map_err(failed)
        }
    }
}

/// Runs a command to its end.
pub(super) fn finish(
    words: &[String],
    order: &Order,
    ended: &mut Ended,
    patience: Duration,
) -> Result<(), String> {
    let errors = format!("{DIR}/commands");
    let streams = Streams::quiet(&errors)?;
    finish_with(words, order, ended, patience, streams)
}

/// The same with these streams; errors are told if they go to the file of all commands.
pub(super) fn finish_with(
    words: &[String],
    order: &Order,
    ended: &mut Ended,
    patience: Duration,
    streams: Streams,
) -> Result<(), String> {
    let errors = format!("{DIR}/commands");
    let started = start(words, order, Group::Own, streams)?;
    let deadline = now() + patience;
    loop {
        ended.reap();
        if let Some(change) = ended.of(started.pid) {
            return match change.exit_code() {
                Some(0) => Ok(()),
                _ => Err(format!(
                    "{words:?} failed: {}",
                    tail(&errors).trim_end().replace('\n', "; ")
                )),
            };
        }
        if deadline.has_passed() {
            return Err(format!("{words:?} did not end within {patience:?}"));
        }
        let mut fds = [PollFd::new(started.pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(20u8)) {
            Ok(_) | Err(_) => {}
        }
    }
}

/// The last part of a file.
pub(super) fn tail(path: &str) -> String {
    const MOST: usize = 400;
    let bytes = fs::read(path).unwrap_or_default();
    let from = bytes.len().saturating_sub(MOST);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}

/// A process in words, if it has not ended.
pub(super) fn alive(pid: i32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let state = field("State:")?.trim();
    let name = field("Name:")?.trim();
    (!state.starts_with(['Z', 'X'])).then(|| format!("{pid} {name} ({state})"))
}
