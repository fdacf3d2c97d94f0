//! Asking systemd for a cgroup of one's own: running this program again inside a scope with
//! `Delegate=yes`.
//!
//! This module makes the command and tries it with `true`; the program executes it. A variable in
//! the environment of the second run keeps it from asking again.
//!
//! Sources: systemd-run(1), systemd.resource-control(5) `Delegate=`,
//! <https://systemd.io/CGROUP_DELEGATION>.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use std::os::fd::AsFd;

use super::Refusal;
use crate::error::{SysError, retry_eintr};

/// Set in the environment of the program inside the scope.
pub const GUARD: &str = "SCENARIO_IN_SCOPE";

/// How to run this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub exe: PathBuf,
    /// Its arguments, without the zeroth.
    pub args: Vec<OsString>,
    /// `systemd-run`, looked up on `PATH` unless it has a slash.
    pub systemd_run: PathBuf,
    /// [`GUARD`] is set: this already is the second run.
    pub in_scope: bool,
}

impl Program {
    /// This process as it was started. `None` if the executable has no name (it is only needed to
    /// run it again).
    pub fn this() -> Option<Self> {
        Some(Self {
            exe: std::env::current_exe().ok()?,
            args: std::env::args_os().skip(1).collect(),
            systemd_run: "systemd-run".into(),
            in_scope: std::env::var_os(GUARD).is_some(),
        })
    }
}

/// The program has to be run again, by `exec`.
#[derive(Debug)]
pub struct Rerun {
    /// What to execute. It has [`GUARD`] in its environment.
    pub command: Command,
    /// What to tell the user first.
    pub why: String,
}

/// The command that runs `program` in a scope of its own; `user` asks the user's service manager.
fn scope(systemd_run: &Path, user: bool, program: &Path, args: &[OsString]) -> Command {
    let mut command = Command::new(systemd_run);
    command.args(user.then_some("--user"));
    command.args([
        "--scope",
        "--quiet",
        "--collect",
        "--no-ask-password",
        "-p",
        "Delegate=yes",
        "--",
    ]);
    command.arg(program).args(args).env(GUARD, "1");
    command
}

/// Tries a scope with `true` in it, and returns the command that runs this program in one.
pub(super) fn through_systemd(
    program: Option<&Program>,
    systemd: bool,
    euid: u32,
) -> Result<Rerun, Refusal> {
    let refuse = |why: &str| Err(Refusal::Other(why.to_owned()));
    if !systemd {
        return refuse("systemd is not the service manager here (no /run/systemd/system)");
    }
    let Some(program) = program else {
        return refuse("this program's own path is not known, so it cannot be run again");
    };
    if program.in_scope {
        return refuse(&format!(
            "this already is the second run ({GUARD} is set), and its scope does not qualify"
        ));
    }
    let user = euid != 0;
    try_scope(scope(&program.systemd_run, user, Path::new("true"), &[]))?;
    let command = scope(&program.systemd_run, user, &program.exe, &program.args);
    Ok(Rerun {
        why: format!(
            "no cgroup at hand qualifies, so this program runs itself again as: {}{} --scope -p \
                Delegate=yes -- {}",
            program.systemd_run.display(),
            if user { " --user" } else { "" },
            program.exe.display()
        ),
        command,
    })
}

/// Runs `command` and waits for it, ten seconds at most.
fn try_scope(mut command: Command) -> Result<(), Refusal> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| Refusal::Other(format!("{name} does not work: {why}"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let ended = wait_end(child.id(), Duration::from_secs(10));
    if !matches!(ended, Ok(true)) {
        child.kill().map_err(|e| failed(e.to_string()))?;
    }
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if !ended.map_err(Refusal::from)? {
        return Err(failed("no answer within 10 s".to_owned()));
    }
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr
            .read_to_string(&mut said)
            .map_err(|e| failed(e.to_string()))?;
    }
    let line = said
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing");
    Err(failed(format!("{status}: {line}")))
}

/// Whether the child ended in time.
fn wait_end(pid: u32, timeout: Duration) -> Result<bool, SysError> {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
    let fail = |errno| SysError::pid("wait for the end", pid.as_raw(), errno);
    let pidfd = crate::sys::pidfd::open(pid).map_err(fail)?;
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    Ok(retry_eintr(|| poll(&mut fds, timeout)).map_err(fail)? == 1)
}
