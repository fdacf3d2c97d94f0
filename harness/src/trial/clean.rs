//! Emptying and removing what a trial or a run made. Used by the harness at the end of a trial, and by the watchdog when there is no harness.

use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use std::os::fd::AsFd;

use super::{TrialError, belts};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;
use crate::host::named;
use crate::sys;

/// How long a look at the state may be late when no event comes.
const TICK: Duration = Duration::from_millis(2);

/// Kills everything in `top` and below, waits until it is unpopulated, removes the directories, then those in v1 hierarchies, then the
/// named hierarchies of `run`.
///
/// `meanwhile` is called at least every few milliseconds: a parent reaps there. `ENOENT` and `ENODEV` mean that somebody else removed a part: fine.
pub(super) fn empty_and_remove(
    top: &Cgroup,
    v1: &[PathBuf],
    run: &str,
    deadline: MonoNs,
    meanwhile: &mut dyn FnMut(),
) -> Result<(), TrialError> {
    let started = sys::time::now();
    let stuck = |path: PathBuf, why: String| TrialError::Stuck {
        path,
        seconds: sys::time::now().since(started).as_secs(),
        why,
    };
    for round in 0u32.. {
        match attempt(top, round > 0, meanwhile) {
            Ok(()) => break,
            Err(e) if deadline.has_passed() => return Err(stuck(top.path().to_path_buf(), describe(top, &e))),
            Err(_) => pause(Some(top), meanwhile),
        }
    }
    for path in v1 {
        loop {
            match remove_v1_tree(path) {
                Ok(()) => break,
                Err(e) if deadline.has_passed() => return Err(stuck(path.clone(), e.to_string())),
                Err(_) => pause(None, meanwhile),
            }
        }
    }
    for name in named::of_run(run)? {
        named::take_down(&name, deadline, meanwhile).map_err(|e| stuck(name.into(), e.to_string()))?;
    }
    Ok(())
}

/// One round: thaw, kill, look, remove. An error means: not yet. Where `cgroup.kill` was not enough (kernels on which it spares a process
/// whose first thread has exited), later rounds signal the members one by one.
fn attempt(top: &Cgroup, one_by_one: bool, meanwhile: &mut dyn FnMut()) -> Result<(), CgroupError> {
    let gone = |e: &CgroupError| matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV));
    match top.events() {
        Ok(events) if events.populated => {
            thaw(top)?;
            kill_everything(top)?;
            if one_by_one {
                crate::kill::kill_members_once(top)?;
            }
            meanwhile();
        }
        Ok(_) => {}
        Err(e) if gone(&e) => return Ok(()),
        Err(e) => return Err(e),
    }
    match top.try_clone()?.remove_tree() {
        Ok(()) => Ok(()),
        Err((_, e)) if gone(&e) => Ok(()),
        Err((_, e)) => Err(e),
    }
}

fn thaw(top: &Cgroup) -> Result<(), CgroupError> {
    for child in top.children()? {
        let child = child?;
        thaw(&child)?;
    }
    match top.freeze(false) {
        Err(e) if !matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Err(e),
        _ => Ok(()),
    }
}

fn kill_everything(top: &Cgroup) -> Result<(), CgroupError> {
    match top.kill() {
        // Before 5.14 there is no such file, and a threaded cgroup refuses it: go through the members.
        Err(e) if matches!(e.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EACCES)) => {
            for pid in top.procs_recursive()?.pids {
                match nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(SysError::pid("kill", pid, errno).into()),
                }
            }
            Ok(())
        }
        other => other,
    }
}

/// Waits for the next change of `top`, or a tick.
fn pause(top: Option<&Cgroup>, meanwhile: &mut dyn FnMut()) {
    meanwhile();
    let timeout = TimeSpec::from_duration(TICK);
    let answer = match top.and_then(|t| t.events_file().ok()) {
        Some(events) => ppoll(
            &mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)],
            Some(timeout),
            None,
        ),
        None => ppoll(&mut [], Some(timeout), None),
    };
    // EINTR, an event and a time-out all mean: look again.
    match answer {
        Ok(_) | Err(_) => {}
    }
}

fn remove_v1_tree(path: &PathBuf) -> Result<(), SysError> {
    let fail = |e: &std::io::Error| SysError::io("readdir", crate::Target::Path(path.clone()), e);
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail(&e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| fail(&e))?;
        if entry.file_type().map_err(|e| fail(&e))?.is_dir() {
            remove_v1_tree(&entry.path())?;
        }
    }
    belts::remove_dir(path)
}

fn describe(top: &Cgroup, error: &CgroupError) -> String {
    match top.procs_recursive() {
        Ok(members) if !members.is_empty() => {
            format!(
                "{error}; still there: {:?} and {} in other PID namespaces",
                members.pids, members.foreign
            )
        }
        Ok(_) => error.to_string(),
        Err(e) => format!("{error}; and {e}"),
    }
}
