//! The surroundings of one command under test: a process of its own that is the subreaper, with
//! namespaces and directories of its own.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::poll::{PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::WaitStatus;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::left::{self, Before};

/// Where the built command is. In a machine that has it elsewhere `SCENARIO` says where.
pub(crate) fn binary() -> String {
    std::env::var("SCENARIO").unwrap_or_else(|_| env!("CARGO_BIN_EXE_scenario").to_owned())
}

/// The monotonic clock.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Lets time pass: until a random moment, or between two reads of a state that has no event.
pub(crate) fn rest(time: Duration) {
    let until = now() + time;
    while let Some(left) = until.checked_sub(now()).filter(|left| !left.is_zero()) {
        let spec = nix::sys::time::TimeSpec::from_duration(left);
        match nix::poll::ppoll(&mut [], Some(spec), None) {
            Ok(_) | Err(_) => {}
        }
    }
}

/// Checks each millisecond until `done` or for `patience`.
pub(crate) fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = now() + patience;
    while !done() {
        if now() >= deadline {
            return false;
        }
        match poll(&mut [], PollTimeout::from(1u8)) {
            Ok(_) | Err(_) => {}
        }
    }
    true
}

/// A place for one command, made by a process that has a single thread and nothing else to do.
#[derive(Debug)]
pub(crate) struct Place {
    /// Directories of its own: `state`, `tmp`, `work`.
    pub dir: PathBuf,
    /// What was there before.
    pub before: Before,
}

impl Place {
    /// Becomes the subreaper, leaves the namespaces of mounts and System V objects, and looks at
    /// what is there.
    pub(crate) fn make(dir: &Path) -> Result<Self, String> {
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|e| format!("PR_SET_CHILD_SUBREAPER: {e}"))?;
        if nix::unistd::geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)
                .map_err(|e| format!("unshare: {e}"))?;
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                None::<&str>,
            )
            .map_err(|e| format!("mount: {e}"))?;
        }
        for below in ["state", "tmp", "work"] {
            fs::create_dir_all(dir.join(below)).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            before: Before::look(),
        })
    }

    /// A program that runs here and writes its output into files.
    pub(crate) fn command(&self, program: &str) -> Result<Command, String> {
        let file =
            |name: &str| File::create(self.dir.join(name)).map_err(|e| format!("{name}: {e}"));
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.join("work"))
            .env("XDG_STATE_HOME", self.dir.join("state"))
            .env("TMPDIR", self.dir.join("tmp"))
            .env("SHELL", "/bin/sh")
            .env_remove("HARNESS_LOG")
            .stdin(Stdio::null())
            .stdout(file("out")?)
            .stderr(file("err")?);
        Ok(command)
    }

    /// Its output so far, on both.
    pub(crate) fn said(&self) -> String {
        let read = |name: &str| fs::read(self.dir.join(name)).unwrap_or_default();
        let (out, err) = (read("out"), read("err"));
        String::from_utf8_lossy(&[out, err].concat()).into_owned()
    }

    /// What is left of the command that ran as `pid`.
    pub(crate) fn left(&self, pid: Pid) -> Vec<String> {
        self.before.left(pid, &self.dir)
    }

    /// The lines of recorded trials and loops. The last may be unfinished if the command was
    /// killed.
    pub(crate) fn records(&self) -> Vec<String> {
        fn walk(dir: &Path, lines: &mut Vec<String>) {
            for entry in fs::read_dir(dir)
                .into_iter()
                .flatten()
                .filter_map(Result::ok)
            {
                let path = entry.path();
                let name = entry.file_name().to_string_lossy().into_owned();
                if path.is_dir() {
                    walk(&path, lines);
                } else if ["trials.jsonl", "scale.jsonl"].contains(&name.as_str()) {
                    let text = fs::read_to_string(&path).unwrap_or_default();
                    lines.extend(text.lines().map(str::to_owned));
                }
            }
        }
        let mut lines = Vec::new();
        walk(&self.dir.join("state"), &mut lines);
        lines
    }

    /// Removes what is left, and the directories.
    pub(crate) fn tidy(self, pid: Pid) {
        left::tidy(pid, &self.dir);
    }
}

/// How a process ended, in words.
pub(crate) fn ended(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exit {code}"),
        WaitStatus::Signaled(_, signal, _) => signal.to_string(),
        other => format!("{other:?}"),
    }
}

/// Words that must be in no output, whatever happens.
pub(crate) fn panicked(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.contains("panicked at"))?;
    Some(format!("it panicked: {line}"))
}

/// Whether it was said that nothing was left, at the end of a run or of an interruption.
pub(crate) fn says_nothing_left(said: &str) -> bool {
    said.to_lowercase().contains("nothing was left behind")
}

/// Runs this program again as the worker for one case, and returns what it answers. `dir` is for it
/// alone.
pub(crate) fn delegate(case: &str, dir: &Path) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new(program)
        .args(["--worker", case])
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("could not start a worker: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "the worker for {case} ended with {:?} (signal {:?}): {}",
            output.status.code(),
            output.status.signal(),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
