//! PID 1 of the lab's machines: mounts what programs expect, runs the steps of its job one after
//! the other, reports how each ended, sends the requested files, and gives exactly one verdict
//! before it ends the machine.

mod channel;
mod checkers;
mod give;
mod mounts;
mod steps;
mod streams;

use std::fs;

use anyhow::{Context, Result};
use lab::protocol::{JOB_PATH, Job, Message};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use channel::Channel;

fn main() {
    let verdict = match Channel::open() {
        Ok(mut channel) => {
            let result = run(&mut channel).map_err(|error| format!("{error:#}"));
            channel
                .say(&Message::Verdict(result))
                .and_then(|()| channel.drain())
        }
        Err(error) => Err(error),
    };
    if let Err(error) = verdict {
        // The channel is broken: the kernel's console is the last resort, and the lab notices the
        // missing verdict.
        let text = format!("<0>lab-init: {error:#}\n");
        fs::write("/dev/kmsg", text).unwrap_or_default();
    }
    // The lab starts QEMU with -no-reboot, so this ends it. It returns only if the kernel refuses.
    let Err(errno) = reboot(RebootMode::RB_AUTOBOOT);
    fs::write("/dev/kmsg", format!("<0>lab-init: reboot: {errno}\n")).unwrap_or_default();
}

/// All steps; how many of them failed.
fn run(channel: &mut Channel) -> Result<usize> {
    mounts::mount_all()?;
    let text = fs::read_to_string(JOB_PATH).with_context(|| format!("read {JOB_PATH}"))?;
    let job: Job = serde_json::from_str(&text).with_context(|| format!("parse {JOB_PATH}"))?;
    let controllers = mounts::mount_cgroups(job.cgroup)?;
    let uname = nix::sys::utsname::uname().context("uname")?;
    channel.say(&Message::Hello {
        release: uname.release().to_string_lossy().into_owned(),
        version: uname.version().to_string_lossy().into_owned(),
        controllers,
    })?;

    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().context("block SIGCHLD")?;
    let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("signalfd")?;

    let mut failed = 0;
    for (index, step) in job.steps.iter().enumerate() {
        let ended = steps::run_step(step, &job.env, &children, channel)?;
        let left = steps::kill_rest()?;
        channel.say(&Message::Step { index, ended, left })?;
        failed += usize::from(!ended.is_success());
    }
    channel.say(&Message::Checkers(checkers::still_on()?))?;
    for place in &job.take {
        give::give(channel, place)?;
    }
    Ok(failed)
}
