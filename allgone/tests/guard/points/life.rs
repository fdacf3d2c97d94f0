//! A host and its guard under a tracer that stops each process at each entry into and exit from a
//! system call.
//!
//! The tracer is this process, which does nothing else, and is the subreaper of all of it: "no
//! child" is the end of all. Sources: ptrace(2), prctl(2).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use allgone::MonoNs;
use allgone::sys::ptrace::{EVENT_STOP, listen};
use allgone::sys::time::now;
use allgone::sys::wait::Change;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::tracees::{changed, code, ignore, parent, told, whole_tree};

/// Which process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Host,
    /// What starts the guard.
    Between,
    Guard,
    Second,
    /// A job's first process, until it executes the program.
    Job,
}

pub(super) const ROLES: [Role; 5] = [
    Role::Host,
    Role::Between,
    Role::Guard,
    Role::Second,
    Role::Job,
];

/// One boundary, counted for each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) role: Role,
    pub(super) at: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// One has stopped at a boundary, until [`Life::go`].
    Stop(Point, Pid),
    /// No process is left.
    Over,
    /// Nothing for as long as was waited.
    Stall,
}

/// From the host's exec on.
#[derive(Debug)]
pub(super) struct Life {
    host: Pid,
    /// How the host ended, as a shell says it.
    pub(super) code: Option<i32>,
    pub(super) counts: BTreeMap<Role, u32>,
    roles: BTreeMap<Pid, Role>,
    held: BTreeSet<Pid>,
    /// Whether all go on without a tracer from their next stop on.
    released: bool,
}

impl Life {
    #[expect(clippy::zombie_processes, reason = "it is reaped like all others")]
    pub(super) fn start(base: &Path, end: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("points-host")
            .arg(base)
            .arg(end)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let host = Pid::from_raw(child.id().cast_signed());
        ptrace::seize(host, whole_tree()).unwrap();
        ptrace::interrupt(host).unwrap();
        // The end of the pipe lets it go on.
        drop(child.stdin.take());
        Self {
            host,
            code: None,
            counts: BTreeMap::from([(Role::Host, 0)]),
            roles: BTreeMap::from([(host, Role::Host)]),
            held: BTreeSet::new(),
            released: false,
        }
    }

    /// Until one stops at a boundary, all have ended, or nothing has happened for so long.
    pub(super) fn next(&mut self, limit: Duration) -> Next {
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

    /// What a change means; the boundary, if it is one.
    fn take_in(&mut self, change: Change) -> Option<Point> {
        let pid = change.pid;
        if change.ended() {
            self.held.remove(&pid);
            self.roles.remove(&pid);
            if pid == self.host {
                self.code = code(&change);
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
            // The guard becomes its program, and so has the host just now; a job's process is no
            // longer looked at.
            libc::PTRACE_EVENT_EXEC
                if matches!(self.roles.get(&pid), Some(Role::Host | Role::Guard)) =>
            {
                self.resume(pid, None);
            }
            libc::PTRACE_EVENT_EXEC => {
                self.roles.remove(&pid);
                ignore(ptrace::detach(pid, None));
            }
            EVENT_STOP if signal != libc::SIGTRAP => ignore(listen(pid)),
            EVENT_STOP => {
                let above = parent(pid).and_then(|parent| self.roles.get(&parent).copied());
                self.born(pid, above);
                self.resume(pid, None);
            }
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                // Before it can make another, so that they are told apart by their order.
                if let Ok(child) = ptrace::getevent(pid) {
                    let above = self.roles.get(&pid).copied();
                    self.born(Pid::from_raw(i32::try_from(child).unwrap()), above);
                }
                self.resume(pid, None);
            }
            _ => self.resume(pid, None),
        }
        None
    }

    /// A process is there; `above`: its parent, if that is one that is looked at.
    fn born(&mut self, pid: Pid, above: Option<Role>) {
        if self.roles.contains_key(&pid) {
            return;
        }
        let has = |role: Role| self.roles.values().any(|known| *known == role);
        let role = match above {
            Some(Role::Host) => Role::Between,
            Some(Role::Between) => Role::Guard,
            Some(_) if has(Role::Second) => Role::Job,
            Some(_) => Role::Second,
            // Its parent has just been killed.
            None if !self.counts.contains_key(&Role::Between) => Role::Between,
            None if !self.counts.contains_key(&Role::Guard) => Role::Guard,
            None if !has(Role::Second) => Role::Second,
            None => Role::Job,
        };
        self.roles.insert(pid, role);
        self.counts.entry(role).or_default();
    }

    fn resume(&self, pid: Pid, signal: Option<Signal>) {
        ignore(if self.released {
            ptrace::detach(pid, signal)
        } else {
            ptrace::syscall(pid, signal)
        });
    }

    /// Lets one go on from its boundary.
    pub(super) fn go(&mut self, pid: Pid) {
        if self.held.remove(&pid) {
            self.resume(pid, None);
        }
    }

    /// SIGKILL to one, whether it has stopped or runs. Whether there is one.
    pub(super) fn kill(&self, role: Role) -> bool {
        let mut all = self.roles.iter().filter(|(_, known)| **known == role);
        all.any(|(pid, _)| kill(*pid, Signal::SIGKILL).is_ok())
    }

    /// From now on nothing is traced. Until no process is left, and how long that took from `since`
    /// on. Errors: what is left at the deadline; it is then killed.
    pub(super) fn end(&mut self, since: MonoNs, limit: Duration) -> Result<Duration, String> {
        self.released = true;
        for pid in std::mem::take(&mut self.held) {
            self.resume(pid, None);
        }
        let deadline = since + limit;
        loop {
            match self.next(deadline.remaining()) {
                Next::Over => return Ok(now().since(since)),
                Next::Stop(_, pid) => self.go(pid),
                Next::Stall => {
                    let left = children();
                    let told: Vec<_> = left.iter().map(|pid| told(*pid)).collect();
                    self.kill_all();
                    return Err(format!("alive after {limit:?}: {}", told.join("; ")));
                }
            }
        }
    }

    fn kill_all(&mut self) {
        for _ in 0..1000 {
            for pid in children() {
                ignore(kill(pid, Signal::SIGKILL));
            }
            if self.next(Duration::from_millis(10)) == Next::Over {
                return;
            }
        }
    }
}

/// This process's; what they leave becomes its own.
fn children() -> Vec<Pid> {
    let this = std::process::id();
    let path = format!("/proc/self/task/{this}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.map(Pid::from_raw).collect()
}
