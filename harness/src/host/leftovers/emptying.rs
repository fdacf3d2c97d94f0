//! Killing the members of everything that a run made, and removing it. Used when a trial and a run
//! end, by the guards, and by `scenario clean`.
//!
//! Another process may be removing the same things at the same time: what is gone counts as
//! removed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use allgone::teardown::{self, Progress};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::Kind;
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError, EventsFile, parse_members};
use crate::error::{SysError, Target};
use crate::host::named::{self, Named};
use crate::host::scratch;
use crate::sys::pidfd;

/// One clean-up: until when it may go on, what is done meanwhile, and what it met.
pub(super) struct Emptying<'a> {
    /// When to give up.
    pub deadline: MonoNs,
    /// Called at least every few milliseconds: a parent reaps there.
    pub meanwhile: &'a mut dyn FnMut(),
    /// Processes that were killed, and in which of the things each was met first.
    pub met: BTreeMap<i32, PathBuf>,
}

/// After so many rounds the members of v1 cgroups are killed one by one even while the v2 cgroups
/// are not empty.
const STUBBORN: u32 = 100;

impl Emptying<'_> {
    /// Empties and removes all of `things`, interleaved: a process that is frozen in one hierarchy
    /// does not die in another before it is thawed. Returns what could not be removed until the
    /// deadline, or at all, with the last refusal.
    pub(super) fn remove(&mut self, things: Vec<(PathBuf, Kind)>) -> Vec<(PathBuf, CgroupError)> {
        let mut failed = Vec::new();
        let mut pending = things;
        for round in 0u32.. {
            let v2 = pending.iter().any(|(_, kind)| *kind == Kind::V2);
            let given_up = self.deadline.has_passed();
            let mut next = Vec::new();
            for (path, kind) in pending {
                let looked = match kind {
                    Kind::V2 => self.v2(&path, round > 0),
                    Kind::V1 => self
                        .v1(&path, &path, !v2 || round > STUBBORN)
                        .map_err(CgroupError::from),
                    Kind::Hierarchy => self.hierarchy(&path),
                    Kind::Scratch => scratch::remove(&path).map_err(CgroupError::from),
                    Kind::Tracing => rmdir(&path).map(|()| true).map_err(CgroupError::from),
                };
                match looked {
                    Ok(true) => {}
                    Err(e) if given_up || !passes(&e) => failed.push((path, e)),
                    Ok(false) if given_up => {
                        let busy = SysError::path("empty and remove", &path, Errno::EBUSY);
                        failed.push((path, busy.into()));
                    }
                    Ok(false) | Err(_) => next.push((path, kind)),
                }
            }
            pending = next;
            (self.meanwhile)();
            match pending.first() {
                None => break,
                Some((path, Kind::V2)) => {
                    pause(EventsFile::open(path).ok().as_ref().map(AsFd::as_fd))
                }
                Some(_) => pause(None),
            }
        }
        failed
    }

    /// One check and the action that follows from it. True: it is gone.
    fn v2(&mut self, path: &Path, one_by_one: bool) -> Result<bool, CgroupError> {
        let cgroup = match Cgroup::open(path) {
            Err(e) if e.errno() == Some(Errno::ENOENT) => return Ok(true),
            other => other?,
        };
        match teardown::step(&cgroup, one_by_one)? {
            // Another may have its name by now.
            Progress::Gone => Ok(!path.exists()),
            Progress::Killed(census) => {
                for pid in census.pids {
                    self.met.entry(pid).or_insert_with(|| path.to_path_buf());
                }
                Ok(false)
            }
        }
    }

    /// As [`Self::v2`], in a hierarchy of version 1. `thing`: what it is a part of.
    fn v1(&mut self, path: &Path, thing: &Path, kill: bool) -> Result<bool, SysError> {
        let looked = (|| {
            let dirs = tree(path)?;
            let mut lived = false;
            for dir in &dirs {
                for pid in v1_members(dir)? {
                    lived = true;
                    if kill {
                        self.met.entry(pid).or_insert_with(|| thing.to_path_buf());
                        kill_member(pid, || Ok(v1_members(dir)?.contains(&pid)))?;
                    }
                }
                // A process that is frozen by the v1 freezer does not die of SIGKILL before it is
                // thawed.
                let state = dir.join("freezer.state");
                match fs::write(&state, "THAWED") {
                    Err(e) if state.exists() => {
                        return Err(SysError::io("thaw", Target::Path(state), &e));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
            if !lived {
                dirs.iter().rev().try_for_each(|dir| rmdir(dir))?;
            }
            Ok(!lived)
        })();
        match looked {
            Err(e) if matches!(e.errno, Errno::ENOENT | Errno::ENODEV) => Ok(!path.exists()),
            other => other,
        }
    }

    /// As [`Self::v2`], for a hierarchy. Its root is spared: all other processes of the machine are
    /// members of it.
    fn hierarchy(&mut self, thing: &Path) -> Result<bool, CgroupError> {
        let label = thing.to_string_lossy();
        let name = label.strip_prefix("name=").unwrap_or(&label);
        // Mounting a hierarchy that has just been removed would create it again. When its cgroups
        // are gone it may keep its line for a while.
        if named::present()?.iter().any(|there| there == name) {
            let hierarchy = Named::mount(name)?;
            for child in hierarchy.root().children()? {
                hierarchy.root().write("release_agent", "\n")?;
                self.v1(child?.path(), thing, true)?;
            }
            return Ok(false);
        }
        Ok(true)
    }
}

fn rmdir(path: &Path) -> Result<(), SysError> {
    match fs::remove_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(SysError::io("rmdir", Target::Path(path.to_path_buf()), &e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether waiting can help.
fn passes(error: &CgroupError) -> bool {
    !matches!(
        error.errno(),
        None | Some(Errno::EACCES | Errno::EPERM | Errno::EROFS)
    )
}

/// `dir` and everything below it, parents first.
fn tree(dir: &Path) -> Result<Vec<PathBuf>, SysError> {
    let mut all = vec![dir.to_path_buf()];
    let mut next = 0;
    while let Some(dir) = all.get(next).cloned() {
        let fail = |e: &io::Error| SysError::io("list", Target::Path(dir.clone()), e);
        for entry in fs::read_dir(&dir).map_err(|e| fail(&e))? {
            let entry = entry.map_err(|e| fail(&e))?;
            if entry.file_type().map_err(|e| fail(&e))?.is_dir() {
                all.push(entry.path());
            }
        }
        next += 1;
    }
    Ok(all)
}

fn v1_members(dir: &Path) -> Result<Vec<i32>, SysError> {
    let path = dir.join("cgroup.procs");
    let text = fs::read_to_string(&path)
        .map_err(|e| SysError::io("read", Target::Path(path.clone()), &e))?;
    let members =
        parse_members(&text).ok_or_else(|| SysError::path("understand", &path, Errno::EBADMSG))?;
    Ok(members.pids)
}

/// SIGKILL to `pid` through a pidfd, if it still is a member after the pidfd was opened.
fn kill_member(pid: i32, still: impl Fn() -> Result<bool, CgroupError>) -> Result<(), SysError> {
    let fail = |op| move |errno| SysError::pid(op, pid, errno);
    let handle = match pidfd::open(Pid::from_raw(pid)) {
        Ok(handle) => handle,
        Err(Errno::ESRCH) => return Ok(()),
        Err(errno) => return Err(fail("pidfd_open")(errno)),
    };
    if !still().is_ok_and(|member| member) {
        return Ok(());
    }
    match pidfd::send_signal(handle.as_fd(), Some(Signal::SIGKILL)) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(fail("pidfd_send_signal")(errno)),
    }
}

/// Waits for an exceptional event on `fd`, two milliseconds at most, because that event may be late
/// or lost.
fn pause(fd: Option<BorrowedFd<'_>>) {
    let mut fds: Vec<_> = fd
        .into_iter()
        .map(|fd| PollFd::new(fd, PollFlags::POLLPRI))
        .collect();
    // An event, a time-out, an interruption and a refusal all mean: check again.
    match poll(&mut fds, PollTimeout::from(2u8)) {
        Ok(_) | Err(_) => {}
    }
}
