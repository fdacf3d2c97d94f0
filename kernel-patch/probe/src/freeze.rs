//! Freeze, wait until frozen, kill, wait until empty: leaving the frozen state is a notification
//! too, and the one for emptiness follows so soon that it is delayed.

use std::os::fd::AsFd;

use allgone_sys::fork::Worker;
use allgone_sys::time::now;
use anyhow::{Context, Result, bail};
use nix::poll::PollFlags;
use nix::unistd::pause;

use crate::Answer;
use crate::latency::sleep_on;
use crate::site::{Group, OwnCgroup, PATIENCE, flag, ns_between, reap};

pub(crate) fn ask(own: &OwnCgroup, tries: usize, tasks: usize) -> Result<Vec<Answer>> {
    let names = ["poll of cgroup.events", "every pidfd"];
    let mut answers = names.map(|name| Answer::new("freeze", format!("{tasks} tasks, {name}")));
    for _ in 0..tries {
        for (by_pidfd, answer) in [false, true].into_iter().zip(&mut answers) {
            answer.tries += 1;
            match trial(own, tasks, by_pidfd)? {
                Some(sample) => answer.samples_ns.push(sample),
                None => answer.count("missed"),
            }
        }
    }
    Ok(answers.into())
}

/// From the write of `cgroup.kill` to knowing that all are gone.
fn trial(own: &OwnCgroup, tasks: usize, by_pidfd: bool) -> Result<Option<u64>> {
    let group = own.group()?;
    let children = (0..tasks)
        .map(|_| {
            group.spawn(|| {
                pause();
                0
            })
        })
        .collect::<Result<Vec<Worker>>>()?;
    group.write("cgroup.freeze", "1")?;
    until(&group, "frozen", true)?.context("the cgroup does not freeze")?;
    let killed = now();
    group.write("cgroup.kill", "1")?;
    let gone = if by_pidfd {
        let deadline = now() + PATIENCE;
        let mut last = Some(now());
        for child in &children {
            last = sleep_on(child.pidfd.as_fd(), PollFlags::POLLIN, deadline)?;
        }
        last
    } else {
        until(&group, "populated", false)?
    };
    for child in &children {
        reap(child)?;
    }
    group.spin_until_empty()?;
    group.remove()?;
    Ok(gone.map(|at| ns_between(killed, at)))
}

/// Sleeps on the events file until a flag of it has a value.
fn until(group: &Group, name: &str, value: bool) -> Result<Option<allgone_sys::time::MonoNs>> {
    let deadline = now() + PATIENCE;
    loop {
        match flag(&group.events, name).context("read cgroup.events")? {
            Some(now_is) if now_is == value => return Ok(Some(now())),
            Some(_) => {}
            None => bail!("cgroup.events has no {name} line"),
        }
        if sleep_on(group.events.as_fd(), PollFlags::POLLPRI, deadline)?.is_none() {
            return Ok(None);
        }
    }
}
