//! The event that is lost: a watcher sleeps on `cgroup.events`, the owner learns of the end by
//! `waitid` and removes the cgroup at once, inside the window in which the kernel holds the second
//! notification back.
//!
//! The job exits only when the watcher has seen `populated 1` and sleeps again, so that it cannot
//! notice the end by chance.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use allgone_sys::fork::worker;
use allgone_sys::time::now;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::Answer;
use crate::latency::sleep_on;
use crate::site::{Group, Line, OwnCgroup, PATIENCE, flag, ns_between, reap};

/// How the watcher waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    Poll,
    InotifyHeld,
    InotifyOnly,
}

const WATCHES: [(Watch, &str); 3] = [
    (Watch::Poll, "poll"),
    (Watch::InotifyHeld, "inotify, events file held open"),
    (Watch::InotifyOnly, "inotify, nothing held open"),
];

/// A notification takes at most 20 ms more than the window; under emulation a hundred times that is
/// still certain.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);
/// An owner that took longer was outside the window, and the try proves nothing.
pub(crate) const WINDOW: Duration = Duration::from_millis(9);

/// Exit statuses of the watcher.
const TOLD: i32 = 0;
const NEVER_WOKEN: i32 = 10;
const FAILED: i32 = 11;

pub(crate) fn ask(own: &OwnCgroup, tries: usize) -> Result<Vec<Answer>> {
    let mut answers = WATCHES.map(|(_, name)| Answer::new("lost", name));
    for _ in 0..tries {
        for ((watch, _), answer) in WATCHES.iter().zip(&mut answers) {
            answer.tries += 1;
            let (outcome, took_ns) = trial(own, *watch)?;
            answer.count(outcome);
            answer.samples_ns.push(took_ns);
        }
    }
    Ok(answers.into())
}

/// One watcher, one job, one removal; the time is from the job's release to the end of rmdir.
fn trial(own: &OwnCgroup, watch: Watch) -> Result<(&'static str, u64)> {
    let (go, ready, seen, gate) = (Line::new()?, Line::new()?, Line::new()?, Line::new()?);
    let path = own.next_path();
    // Forked before the cgroup exists: a copy of the owner's descriptors would hold the events file
    // open.
    let watcher = worker(0, None, || {
        if go.take().is_err() {
            return FAILED;
        }
        watch_it(watch, &path.join("cgroup.events"), &ready, &seen)
    })
    .context("fork the watcher")?;
    let group = Group::make(&path)?;
    go.stamp();
    ready.take().context("the watcher did not get ready")?;
    let job = group.spawn(|| i32::from(gate.take().is_err()))?;
    seen.take().context("the watcher did not see the job")?;
    until_asleep(watcher.pid)?;
    let released = now();
    gate.stamp();
    reap(&job)?;
    // Only the watcher holds the file open.
    drop(group);
    loop {
        match std::fs::remove_dir(&path) {
            Ok(()) => break,
            // 6.19 says this for a moment after the last process was reaped.
            Err(error)
                if error.raw_os_error() == Some(Errno::EBUSY as i32)
                    && !(released + PATIENCE).has_passed() => {}
            Err(error) => return Err(error).with_context(|| format!("rmdir {}", path.display())),
        }
    }
    let took_ns = ns_between(released, now());
    let in_window = u128::from(took_ns) < WINDOW.as_nanos();
    let outcome = match reap(&watcher)? {
        WaitStatus::Exited(_, TOLD) if in_window => "told",
        WaitStatus::Exited(_, NEVER_WOKEN) if in_window => "never woken",
        WaitStatus::Exited(_, TOLD) => "told, but the owner was too slow to be in the window",
        WaitStatus::Exited(_, NEVER_WOKEN) => {
            "never woken, though the owner was too slow to be in the window"
        }
        other => anyhow::bail!("the watcher ended with {other:?}"),
    };
    Ok((outcome, took_ns))
}

/// Waits until a process sleeps. Between its last message and that sleep the watcher does nothing
/// else that could sleep.
pub(crate) fn until_asleep(pid: Pid) -> Result<()> {
    let path = format!("/proc/{pid}/stat");
    let deadline = now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        // The state stands behind the name, which is in parentheses and may hold anything
        // (proc_pid_stat(5)).
        if text
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('S'))
        {
            return Ok(());
        }
        anyhow::ensure!(
            !deadline.has_passed(),
            "the watcher does not go to sleep: {text}"
        );
    }
}

/// The watcher's main function: subscribe, read, sleep, read.
fn watch_it(watch: Watch, path: &Path, ready: &Line, seen: &Line) -> i32 {
    let try_it = || -> Result<i32> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let held = File::open(path)?;
        if watch != Watch::Poll {
            inotify.add_watch(
                path,
                AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE_SELF,
            )?;
        }
        let mut held = Some(held);
        if let Some(file) = &held {
            flag(file, "populated")?;
        }
        if watch == Watch::InotifyOnly {
            held = None;
        }
        ready.stamp();
        let mut was_populated = false;
        loop {
            let fd = if watch == Watch::Poll {
                held.as_ref().map(AsFd::as_fd)
            } else {
                Some(inotify.as_fd())
            };
            let flags = if watch == Watch::Poll {
                PollFlags::POLLPRI
            } else {
                PollFlags::POLLIN
            };
            let Some(fd) = fd else { return Ok(FAILED) };
            let limit = if was_populated { SILENCE } else { PATIENCE };
            if sleep_on(fd, flags, now() + limit)?.is_none() {
                return Ok(if was_populated { NEVER_WOKEN } else { FAILED });
            }
            if watch != Watch::Poll {
                match inotify.read_events() {
                    Ok(_) | Err(Errno::EAGAIN) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            let state = match &held {
                Some(file) => flag(file, "populated"),
                None => match File::open(path) {
                    Ok(file) => flag(&file, "populated"),
                    Err(error) => Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
                },
            };
            match state {
                Ok(Some(true)) if !was_populated => {
                    was_populated = true;
                    seen.stamp();
                }
                Ok(Some(false)) if was_populated => return Ok(TOLD),
                // The file is gone: that counts as a notification, too.
                Err(Errno::ENODEV | Errno::ENOENT) => return Ok(TOLD),
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    };
    try_it().unwrap_or(FAILED)
}
