//! The launcher is killed, at any moment: nothing of its run lives a second later, and no cgroup is
//! left.

use std::process::{Child, Stdio};
use std::time::Duration;

use allgone::sys::time::{now, sleep_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Marked, Whose, allgone, cgroups, users, within};

const PAYLOAD: &str = "trap '' TERM INT HUP; (setsid sh -c 'sleep 1000 & sleep 1000' &); \
                       sleep 1000 & kill -STOP $!; sleep 1000";

/// How many moments: 30, or as many as the environment says.
fn moments() -> u32 {
    std::env::var("LAUNCHER_KILLS").map_or(30, |count| count.parse().unwrap())
}

fn killed_at(whose: Whose, bare: bool, after: Duration) {
    let options = if bare { &["--bare"][..] } else { &[] };
    let mut run = allgone(whose, &[options, &["--", "sh", "-c", PAYLOAD]].concat());
    run.command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = run.command.spawn().unwrap();
    let number = child.id();
    sleep_until(now() + after).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    run.nothing_left();
    let removed = within(Duration::from_secs(1), || cgroups(number).is_empty());
    assert!(removed, "{after:?} {whose:?}: {:?}", cgroups(number));
}

#[test]
fn at_moments_spread_over_start_and_life() {
    let count = moments();
    for at in 0..count {
        // The start takes about 2 ms; the last third is life.
        let after = Duration::from_micros(6_000) * at / count;
        for &whose in users() {
            killed_at(whose, at % 2 == 0, after);
        }
    }
}

/// A run whose payload is complete, its launcher, and its init.
fn with_init() -> (Marked, Child, Pid) {
    let mut run = allgone(Whose::Own, &["--", "sh", "-c", PAYLOAD]);
    let child = run.command.spawn().unwrap();
    let launcher = child.id();
    let children = format!("/proc/{launcher}/task/{launcher}/children");
    let init = || -> Option<i32> { std::fs::read_to_string(&children).ok()?.trim().parse().ok() };
    assert!(within(Duration::from_secs(5), || init().is_some()
        && run.alive().len() > 4));
    let init = Pid::from_raw(init().unwrap());
    (run, child, init)
}

#[test]
fn init_is_killed() {
    let (run, mut child, init) = with_init();
    kill(init, Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    assert_eq!(cgroups(child.id()), Vec::<std::path::PathBuf>::new());
    run.nothing_left();
}

#[test]
fn init_is_stopped_and_the_launcher_killed() {
    let (run, mut child, init) = with_init();
    kill(init, Signal::SIGSTOP).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    run.nothing_left();
    assert!(within(Duration::from_secs(1), || cgroups(child.id()).is_empty()));
}
