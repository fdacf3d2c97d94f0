//! Many runs of a launcher at once, of which some are stopped.

use std::os::fd::AsFd;
use std::time::Duration;

use allgone::sys::pidfd;
use allgone::sys::time::now;
use nix::sys::signal::Signal;

use super::container;
use super::keeper::wait_idle;
use super::oracle::Oracle;
use super::processes::{self, Group, Started, Streams};
use super::watch::{Watch, is_ready};
use super::{DIR, Life, Order, Seen};
use crate::payload::DONE;

/// One of so many is stopped.
const STOPPED: usize = 10;

/// Starts all, stops every tenth when it is ready, and waits for all.
pub(super) fn play(
    order: &Order,
    watch: &mut Watch,
    oracle: &Oracle,
    seen: &mut Seen,
) -> Result<(), String> {
    let mut all: Vec<Started> = Vec::new();
    for words in &order.launch {
        let streams = Streams::quiet(&format!("{DIR}/errors"))?;
        all.push(match order.container {
            true => container::execute(words, order, &mut watch.ended, streams, all.len())?,
            false => processes::start(words, order, Group::Own, streams)?,
        });
    }
    let everybody: Vec<&Started> = all.iter().collect();
    let ready = |at: usize| is_ready(&format!("{DIR}/ready.{at}"));
    let start = now() + Duration::from_millis(order.start_ms);
    let complete = watch.until(start, &everybody, |w| {
        (0..all.len()).all(|at| ready(at) || all.get(at).is_some_and(|p| w.end(p).is_some()))
    });
    if !complete {
        return Err(format!(
            "not all of {} said \"ready\" within {} ms",
            all.len(),
            order.start_ms
        ));
    }
    let stopped = |at: usize| at % STOPPED == STOPPED - 1;
    for (at, process) in all.iter().enumerate().filter(|(at, _)| stopped(*at)) {
        if watch.end(process).is_some() {
            continue;
        }
        match pidfd::send_signal(process.pidfd.as_fd(), Some(Signal::SIGTERM)) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(e) => return Err(format!("could not stop number {at}: {e}")),
        }
    }
    let deadline = now() + Duration::from_millis(order.case.patience_ms);
    let over = |w: &Watch| {
        let mut rest = all.iter().enumerate().filter(|(at, _)| !stopped(*at));
        rest.all(|(_, p)| w.end(p).is_some())
    };
    watch.until(deadline, &everybody, over);
    for (at, process) in all.iter().enumerate().filter(|(at, _)| !stopped(*at)) {
        match watch.end(process).map(|change| change.exit_code()) {
            Some(Some(code)) if code == i32::from(DONE) => seen.crowd_right += 1,
            Some(Some(code)) => seen.crowd_wrong.push(format!("{at}: exit code {code}")),
            Some(None) => seen.crowd_wrong.push(format!("{at}: ended by a signal")),
            None => seen.crowd_wrong.push(format!("{at}: did not return")),
        }
    }
    seen.crowd_wrong.truncate(5);
    let settled = now() + Duration::from_millis(order.case.settle_ms);
    wait_idle(watch, oracle, settled, &everybody);
    seen.settled = Some(oracle.look());
    if seen.settled == Some(Life::Alive) {
        seen.crowd_wrong.push("some of them live on".to_owned());
    }
    Ok(())
}
