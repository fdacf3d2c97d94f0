//! The time from the last exit to the waiter, by mechanism.

use std::os::fd::AsFd;
use std::time::Duration;

use allgone_sys::fork::Worker;
use allgone_sys::time::{MonoNs, now, sleep_until};
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::Answer;
use crate::site::{Group, Line, OwnCgroup, PATIENCE, ns_between, reap};

/// The mechanisms, which take turns.
#[derive(Debug, Clone, Copy)]
enum Mechanism {
    Waitid,
    PidfdPoll,
    EventsPoll,
    EventsInotify,
    KillPoll,
}

const MECHANISMS: [(Mechanism, &str); 5] = [
    (Mechanism::Waitid, "waitid"),
    (Mechanism::PidfdPoll, "pidfd-poll"),
    (Mechanism::EventsPoll, "cgroup-events-poll"),
    (Mechanism::EventsInotify, "cgroup-events-inotify"),
    (Mechanism::KillPoll, "cgroup-kill-poll"),
];

pub(crate) fn ask(own: &OwnCgroup, tries: usize, lifetimes_us: &[u64]) -> Result<Vec<Answer>> {
    let pollable_kill = kill_is_pollable(own)?;
    let mut answers = Vec::new();
    for lifetime_us in lifetimes_us {
        let mechanisms: Vec<_> = MECHANISMS
            .iter()
            .filter(|(m, _)| pollable_kill || !matches!(m, Mechanism::KillPoll))
            .collect();
        let mut of_life: Vec<Answer> = mechanisms
            .iter()
            .map(|(_, name)| Answer::new("latency", format!("{name} {lifetime_us}us")))
            .collect();
        for _ in 0..tries {
            for ((mechanism, _), answer) in mechanisms.iter().zip(&mut of_life) {
                answer.tries += 1;
                match trial(own, *mechanism, Duration::from_micros(*lifetime_us))? {
                    Some(sample) => answer.samples_ns.push(sample),
                    None => answer.count("missed"),
                }
            }
        }
        answers.extend(of_life);
    }
    Ok(answers)
}

/// Whether `cgroup.kill` says when the subtree is empty: on a stock kernel poll always calls it
/// readable, even when a process is there.
fn kill_is_pollable(own: &OwnCgroup) -> Result<bool> {
    let group = own.group()?;
    let gate = Line::new()?;
    let child = group.spawn(|| i32::from(gate.take().is_err()))?;
    let file = std::fs::File::options()
        .write(true)
        .open(group.path.join("cgroup.kill"))
        .context("open cgroup.kill")?;
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).context("poll cgroup.kill")?;
    let readable_while_full = fds[0].any().unwrap_or(false);
    gate.stamp();
    reap(&child)?;
    group.remove()?;
    Ok(!readable_while_full)
}

/// One job, one waiter; `None` when it did not learn of the end within [`PATIENCE`].
fn trial(own: &OwnCgroup, mechanism: Mechanism, lifetime: Duration) -> Result<Option<u64>> {
    let group = own.group()?;
    let stamps = Line::new()?;
    let inotify =
        Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("inotify_init")?;
    if let Mechanism::EventsInotify = mechanism {
        inotify
            .add_watch(&group.path.join("cgroup.events"), AddWatchFlags::IN_MODIFY)
            .context("inotify_add_watch")?;
    }
    // Poll on a cgroup file reports changes since the last read.
    group.populated()?;
    let child = group.spawn(|| {
        let end = now() + lifetime;
        while !lifetime.is_zero() && !end.has_passed() {
            if sleep_until(end).is_err() {
                return 1;
            }
        }
        i32::from(!stamps.stamp())
    })?;
    let woken = wait(mechanism, &group, &child, &inotify)?;
    reap(&child)?;
    let stamp = stamps.take()?;
    group.remove()?;
    Ok(woken.map(|at| ns_between(stamp, at)))
}

fn wait(
    mechanism: Mechanism,
    group: &Group,
    child: &Worker,
    inotify: &Inotify,
) -> Result<Option<MonoNs>> {
    let deadline = now() + PATIENCE;
    match mechanism {
        Mechanism::Waitid => {
            // Left as a zombie for the caller, which reaps in every case.
            let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
            nix::sys::wait::waitid(nix::sys::wait::Id::PIDFd(child.pidfd.as_fd()), flags)
                .context("waitid")?;
            Ok(Some(now()))
        }
        Mechanism::PidfdPoll => sleep_on(child.pidfd.as_fd(), PollFlags::POLLIN, deadline),
        Mechanism::KillPoll => {
            let path = group.path.join("cgroup.kill");
            let file = std::fs::File::options()
                .write(true)
                .open(path)
                .context("open cgroup.kill")?;
            sleep_on(file.as_fd(), PollFlags::POLLIN, deadline)
        }
        Mechanism::EventsPoll => loop {
            if !group.populated()? {
                return Ok(Some(now()));
            }
            if sleep_on(group.events.as_fd(), PollFlags::POLLPRI, deadline)?.is_none() {
                return Ok(None);
            }
        },
        Mechanism::EventsInotify => loop {
            if !group.populated()? {
                return Ok(Some(now()));
            }
            if sleep_on(inotify.as_fd(), PollFlags::POLLIN, deadline)?.is_none() {
                return Ok(None);
            }
            // The events are only hints.
            inotify.read_events().context("read inotify")?;
        },
    }
}

/// Sleeps until the descriptor has one of `flags`; when that was, or `None` after the deadline.
///
/// poll checks once more when its time is over, and finds a removed cgroup file "ready" although it
/// did not wake the sleeper: what is found only then was not notified.
pub(crate) fn sleep_on(
    fd: std::os::fd::BorrowedFd<'_>,
    flags: PollFlags,
    deadline: MonoNs,
) -> Result<Option<MonoNs>> {
    let timeout = PollTimeout::try_from(deadline.remaining() + Duration::from_millis(1))
        .unwrap_or(PollTimeout::MAX);
    let count = poll(&mut [PollFd::new(fd, flags)], timeout).context("poll")?;
    let at = now();
    Ok((count == 1 && at < deadline).then_some(at))
}
