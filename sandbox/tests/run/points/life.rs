//! A run under a tracer that stops launcher, init and main before exec at each entry into and exit
//! from a system call.
//!
//! The tracer is this process, which has nothing else to do: it is the subreaper of the run as
//! well. So a process of the run is alive as long as this one has a descendant, and "no child" is
//! the end of all of them, with or without an environment. Sources: ptrace(2), prctl(2).

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use allgone::MonoNs;
use allgone::sys::ptrace::{EVENT_STOP, listen};
use allgone::sys::time::now;
use allgone::sys::wait::Change;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::kinds::Kind;
use super::process::descendants;
use super::tracees::{changed, code, ignore, parent, told, whole_tree};

/// Which process of a run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Launcher,
    /// In the traced tier it is the tracer.
    Init,
    /// Until it executes the program.
    Main,
}

/// One boundary: the entry into a system call or the exit from one, counted for each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) role: Role,
    pub(crate) at: u32,
}

/// What comes next in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// One has stopped at a boundary, until [`Life::go`].
    Stop(Point, Pid),
    /// No process is left.
    Over,
    /// Nothing for as long as was waited.
    Stall,
}

/// A life from the launcher's exec on.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) launcher: Pid,
    /// How the launcher ended, as a shell says it.
    pub(crate) code: Option<i32>,
    /// Whether init was ended by SIGKILL: a test's, or the launcher's if init was late.
    pub(crate) init_killed: bool,
    /// How many boundaries there have been.
    pub(crate) counts: BTreeMap<Role, u32>,
    /// How many the launcher had when init was born.
    pub(crate) born_at: Option<u32>,
    /// Numbers of those that have not been reaped.
    alive: BTreeMap<Role, Pid>,
    roles: BTreeMap<Pid, Role>,
    /// Those that wait at a boundary.
    held: BTreeSet<Pid>,
    /// Whether main is traced, which it can be only where it has no other tracer.
    with_main: bool,
    /// Whether all go on without a tracer from their next stop on.
    released: bool,
}

impl Life {
    /// Starts it, stopped at each boundary.
    pub(crate) fn start(kind: &Kind, binary: &str) -> Self {
        Self::begin(kind, binary, |launcher| {
            ptrace::seize(launcher, whole_tree()).unwrap();
        })
    }

    /// Starts it without a tracer. `first` is done before the launcher's exec.
    pub(crate) fn untraced(kind: &Kind, binary: &str, first: impl FnOnce(Pid)) -> Self {
        let mut life = Self::begin(kind, binary, first);
        life.released = true;
        life
    }

    #[expect(clippy::zombie_processes, reason = "it is reaped like all others")]
    fn begin(kind: &Kind, binary: &str, first: impl FnOnce(Pid)) -> Self {
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "read -r line; exec \"$0\" \"$@\" < /dev/null",
                binary,
                "run",
            ])
            .args(kind.options)
            .args(["--", "sh", "-c", kind.script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/");
        if kind.ordinary && nix::unistd::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        let mut child = command.spawn().unwrap();
        let launcher = Pid::from_raw(i32::try_from(child.id()).unwrap());
        first(launcher);
        // The end of the pipe lets it go on.
        drop(child.stdin.take());
        Self {
            launcher,
            code: None,
            init_killed: false,
            counts: BTreeMap::new(),
            born_at: None,
            alive: BTreeMap::new(),
            roles: BTreeMap::new(),
            held: BTreeSet::new(),
            with_main: kind.with_main,
            released: false,
        }
    }

    /// Until one stops at a boundary, all have ended, or nothing has happened for so long.
    pub(crate) fn next(&mut self, limit: Duration) -> Next {
        loop {
            match changed(limit) {
                None => return Next::Stall,
                Some(Err(_)) => return Next::Over,
                Some(Ok(change)) => {
                    if let Some(point) = self.take_in(change) {
                        return Next::Stop(point, change.pid);
                    }
                }
            }
        }
    }

    /// What a change means; the boundary, if it is one, at which it has stopped.
    fn take_in(&mut self, change: Change) -> Option<Point> {
        let pid = change.pid;
        if change.ended() {
            self.held.remove(&pid);
            if pid == self.launcher {
                self.code = code(&change);
            }
            if let Some(role) = self.roles.remove(&pid)
                && self.alive.get(&role) == Some(&pid)
            {
                self.alive.remove(&role);
                self.init_killed |= role == Role::Init && change.code == libc::CLD_KILLED;
            }
            return None;
        }
        if change.code != libc::CLD_TRAPPED {
            return None;
        }
        let (event, signal) = (change.status >> 8, change.status & 0xff);
        match event {
            0 if signal == libc::SIGTRAP | 0x80 => {
                let Some(&role) = self.roles.get(&pid) else {
                    // The shell, before it is the launcher.
                    self.resume(pid, None);
                    return None;
                };
                let count = self.counts.entry(role).or_default();
                let point = Point { role, at: *count };
                *count += 1;
                if !self.released {
                    self.held.insert(pid);
                    return Some(point);
                }
                self.resume(pid, None);
            }
            0 => self.resume(pid, Signal::try_from(signal).ok()),
            libc::PTRACE_EVENT_EXEC => self.executed(pid),
            EVENT_STOP if signal != libc::SIGTRAP => ignore(listen(pid)),
            EVENT_STOP => {
                if !self.roles.contains_key(&pid) && pid != self.launcher {
                    self.born(pid);
                }
                self.resume(pid, None);
            }
            _ => self.resume(pid, None),
        }
        None
    }

    /// The launcher begins, and main is no longer what is looked at.
    fn executed(&mut self, pid: Pid) {
        if pid == self.launcher {
            self.roles.insert(pid, Role::Launcher);
            self.alive.insert(Role::Launcher, pid);
            self.resume(pid, None);
        } else {
            self.roles.remove(&pid);
            ignore(ptrace::detach(pid, None));
        }
    }

    fn born(&mut self, pid: Pid) {
        let by_launcher = parent(pid) == Some(self.launcher);
        // One whose parent has just been killed is this process's child.
        let first = !self.counts.contains_key(&Role::Init);
        let role = if by_launcher || first {
            Role::Init
        } else {
            Role::Main
        };
        if role == Role::Init && !self.with_main {
            ignore(ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD));
        }
        if role == Role::Init {
            let launcher = self.counts.get(&Role::Launcher).copied();
            self.born_at.get_or_insert(launcher.unwrap_or(0));
        }
        self.roles.insert(pid, role);
        self.alive.insert(role, pid);
        self.counts.entry(role).or_default();
    }

    fn resume(&self, pid: Pid, signal: Option<Signal>) {
        // Before its exec the launcher is a shell, whose calls are not looked at.
        let looked_at = self.roles.contains_key(&pid);
        ignore(match (self.released, looked_at) {
            (true, true) => ptrace::detach(pid, signal),
            (_, false) => ptrace::cont(pid, signal),
            (false, true) => ptrace::syscall(pid, signal),
        });
    }

    /// Lets one go on from its boundary.
    pub(crate) fn go(&mut self, pid: Pid) {
        if self.held.remove(&pid) {
            self.resume(pid, None);
        }
    }

    /// The process that has this role, if there is one. Main is found where it is not traced, too,
    /// if init has stopped at a boundary.
    pub(crate) fn process(&self, role: Role) -> Option<Pid> {
        if role == Role::Main && !self.with_main {
            let init = self.alive.get(&Role::Init)?;
            let path = format!("/proc/{init}/task/{init}/children");
            let text = std::fs::read_to_string(path).ok()?;
            return text
                .split_whitespace()
                .next()?
                .parse()
                .ok()
                .map(Pid::from_raw);
        }
        self.alive.get(&role).copied()
    }

    /// SIGKILL to one, whether it has stopped or runs. Whether there is one.
    pub(crate) fn kill(&self, role: Role) -> bool {
        let process = self.process(role);
        process.is_some_and(|pid| kill(pid, Signal::SIGKILL).is_ok())
    }

    /// From now on nothing is traced, and nothing waits.
    pub(crate) fn release(&mut self) {
        self.released = true;
        for pid in std::mem::take(&mut self.held) {
            self.resume(pid, None);
        }
    }

    /// Until no process is left, and how long that took from `since` on. Errors: who is left at
    /// the deadline; all of it is then killed.
    pub(crate) fn end(&mut self, since: MonoNs, limit: Duration) -> Result<Duration, String> {
        self.release();
        let deadline = since + limit;
        loop {
            match self.next(deadline.remaining()) {
                Next::Over => return Ok(now().since(since)),
                Next::Stop(_, pid) => self.go(pid),
                Next::Stall => {
                    let left = descendants();
                    let told = left.iter().map(|pid| told(*pid)).collect::<Vec<_>>();
                    self.kill_all();
                    return Err(format!("alive after {limit:?}: {}", told.join("; ")));
                }
            }
        }
    }

    fn kill_all(&mut self) {
        for _ in 0..1000 {
            for pid in descendants() {
                ignore(kill(pid, Signal::SIGKILL));
            }
            if self.next(Duration::from_millis(10)) == Next::Over {
                return;
            }
        }
    }
}
