//! What the tests share: a base that is undone at the end, and workers.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd};

use harness::host::base::{Options, find};
use harness::host::name::RunName;
use harness::host::{
    Base, Detected, Found, Held, Layout, NoBase, Paths, Surveyed, detect, leftovers,
};
use harness::sys::{fork, pidfd};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

pub(crate) type Outcome = Result<(), String>;

pub(crate) fn options() -> Options {
    Options::default()
}

pub(crate) fn host() -> Surveyed {
    match detect(&options()) {
        Ok(Detected::Here(host)) => *host,
        Ok(Detected::Rerun(_)) => unreachable!("no program was given, so it cannot be run again"),
        Err(e) => panic!("{e}"),
    }
}

/// A base that undoes what was changed for it. Only the process that searched drops one; workers
/// borrow it.
#[derive(Debug)]
pub(crate) struct Mine(pub(crate) Held);

impl std::ops::Deref for Mine {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.0.base
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        for failed in self.0.delegation.undo() {
            eprintln!("not taken back: {failed}");
        }
    }
}

pub(crate) fn search(options: &Options) -> Result<Mine, NoBase> {
    let layout = Layout::read(&options.paths).expect("/proc is readable");
    match find(options, &layout, nix::unistd::geteuid().as_raw())? {
        Found::Here(held) => Ok(Mine(*held)),
        Found::Rerun(_) => unreachable!("no program was given"),
    }
}

pub(crate) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(why()) }
}

pub(crate) fn text(e: impl Display) -> String {
    e.to_string()
}

/// Directories of runs of this process, in all hierarchies. Other runs may come and go meanwhile.
pub(crate) fn own_leftovers() -> Result<Vec<String>, String> {
    let layout = Layout::read(&Paths::default()).map_err(text)?;
    let own = RunName::own().map_err(text)?.to_string();
    let found = leftovers::find(&layout, None).map_err(text)?;
    let paths = found.iter().map(|l| l.path.display().to_string());
    Ok(paths.filter(|path| path.contains(&own)).collect())
}

/// Runs `body` in a forked copy of this process; what it says comes back through a pipe.
pub(crate) fn worker(body: impl FnOnce() -> Outcome) -> Outcome {
    let (read, write) = nix::unistd::pipe().map_err(text)?;
    let worker = fork::worker(0, None, || match body() {
        Ok(()) => 0,
        Err(why) => nix::unistd::write(&write, why.as_bytes()).map_or(2, |_| 1),
    });
    let worker = worker.map_err(|e| format!("fork: {e}"))?;
    drop(write);
    let status = end_of(worker.pidfd.as_fd())?;
    let said = std::io::read_to_string(std::fs::File::from(read)).map_err(text)?;
    ensure(matches!(status, WaitStatus::Exited(_, 0)), || {
        format!("{status:?}: {said}")
    })
}

/// Reaps a worker, which has a minute to end by itself.
pub(crate) fn end_of(worker: BorrowedFd<'_>) -> Result<WaitStatus, String> {
    let mut fds = [PollFd::new(worker, PollFlags::POLLIN)];
    let in_time = poll(&mut fds, PollTimeout::from(60_000u16)).map_err(text)? == 1;
    if !in_time {
        pidfd::send_signal(worker, Some(Signal::SIGKILL)).map_err(text)?;
    }
    let status = waitid(Id::PIDFd(worker), WaitPidFlag::WEXITED).map_err(text)?;
    if in_time {
        Ok(status)
    } else {
        Err("did not end within a minute".to_owned())
    }
}
