//! A cgroup that flips between empty and not as fast as processes can be born and die: how often is
//! a watcher woken?

use std::os::fd::AsFd;
use std::time::Duration;

use allgone_sys::fork::worker;
use allgone_sys::time::{MonoNs, now};
use anyhow::{Context, Result};
use nix::poll::PollFlags;
use nix::sys::wait::WaitStatus;

use crate::Answer;
use crate::latency::sleep_on;
use crate::site::{Line, OwnCgroup, flag, reap};

/// The interval of the kernel's limit at HZ 250, which has the longest of the usual ones but for HZ
/// 100.
const INTERVAL: Duration = Duration::from_millis(16);
/// The flips begin within this time of the fork; what is counted comes after it.
const BEGINNING: Duration = Duration::from_secs(1);
/// The time after the last flip within which the final state must have been delivered.
const TRAILING: Duration = Duration::from_millis(400);

pub(crate) fn ask(own: &OwnCgroup, storm: Duration) -> Result<Vec<Answer>> {
    let group = own.group()?;
    let (ready, flips) = (Line::new()?, Line::new()?);
    let begin = now() + BEGINNING;
    let end = begin + storm;
    let flipper = worker(0, None, || {
        ready.stamp();
        let mut count = 0;
        while !end.has_passed() {
            let Ok(child) = group.spawn(|| 0) else {
                return 1;
            };
            if reap(&child).is_err() {
                return 1;
            }
            count += 1;
        }
        i32::from(!flips.say(count))
    })
    .context("fork the flipper")?;
    ready.take()?;
    anyhow::ensure!(
        !begin.has_passed(),
        "the flipper took longer than {BEGINNING:?} to begin"
    );
    let (mut wakes, final_empty) = watch(&group, end)?;
    wakes.retain(|at| *at >= begin);
    let status = reap(&flipper)?;
    let mut answer = Answer::new(
        "storm",
        format!("poll, wake-ups per {} ms", INTERVAL.as_millis()),
    );
    answer.tries = wakes.len();
    anyhow::ensure!(
        matches!(status, WaitStatus::Exited(_, 0)),
        "the flipper could not go on: {status:?}"
    );
    answer
        .counts
        .insert("flips", usize::try_from(flips.hear()?).context("a count")?);
    answer.counts.insert("wake-ups", wakes.len());
    let ms = usize::try_from(storm.as_millis()).context("a count")?;
    answer.counts.insert("ms of flips", ms);
    answer
        .peaks
        .insert("wake-ups in any interval", most_in_any_interval(&wakes));
    answer
        .counts
        .insert("final state seen", usize::from(final_empty));
    // Times between wake-ups.
    answer.samples_ns = wakes.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    group.remove()?;
    Ok(vec![answer])
}

/// Every wake-up until the storm is over, and whether the last of them left the watcher with
/// `populated 0`.
fn watch(group: &crate::site::Group, end: MonoNs) -> Result<(Vec<MonoNs>, bool)> {
    let mut wakes = Vec::new();
    let mut populated = flag(&group.events, "populated").context("read cgroup.events")?;
    loop {
        let deadline = end + TRAILING;
        match sleep_on(group.events.as_fd(), PollFlags::POLLPRI, deadline)? {
            Some(at) => {
                populated = flag(&group.events, "populated").context("read cgroup.events")?;
                if at < end {
                    wakes.push(at);
                }
            }
            None => return Ok((wakes, populated == Some(false))),
        }
    }
}

/// The largest number of wake-ups in any stretch of one interval.
fn most_in_any_interval(wakes: &[MonoNs]) -> usize {
    let in_window = |(first, at): (usize, &MonoNs)| {
        wakes[first..]
            .iter()
            .take_while(|later| **later < *at + INTERVAL)
            .count()
    };
    wakes.iter().enumerate().map(in_window).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_window_is_found() {
        let ms = |ms: u64| MonoNs(ms * 1_000_000);
        assert_eq!(most_in_any_interval(&[]), 0);
        assert_eq!(
            most_in_any_interval(&[ms(0), ms(16), ms(20), ms(30), ms(60)]),
            3
        );
    }
}
