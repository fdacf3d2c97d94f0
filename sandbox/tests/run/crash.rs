//! The launcher is killed, at any moment: nothing of its run lives a second later, and no cgroup is
//! left.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use allgone::sys::time::{now, sleep_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Marked, Whose, allgone, cgroups, has, users, within};

const PAYLOAD: &str = "trap '' TERM INT HUP; (setsid sh -c 'sleep 1000 & sleep 1000' &); \
                       sleep 1000 & kill -STOP $!; sleep 1000";

/// How many moments: 30, or as many as the environment says.
pub(crate) fn moments() -> u32 {
    std::env::var("LAUNCHER_KILLS").map_or(30, |count| count.parse().unwrap())
}

fn killed_at(whose: Whose, options: &[&str], after: Duration) {
    let mut run = allgone(whose, &[options, &["--", "sh", "-c", PAYLOAD]].concat());
    run.command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = run.command.spawn().unwrap();
    let number = child.id();
    sleep_until(now() + after).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    run.nothing_left();
    let removed = within(Duration::from_secs(1), || cgroups(number).is_empty());
    assert!(
        removed,
        "{after:?} {whose:?} {options:?}: {:?}",
        cgroups(number)
    );
}

#[test]
fn at_moments_spread_over_start_and_life() {
    let count = moments();
    for at in 0..count {
        // The start takes about 2 ms; the last third is life.
        let after = Duration::from_micros(6_000) * at / count;
        for &whose in users() {
            for options in [&[][..], &["--bare"], &["--tier", "traced"]] {
                killed_at(whose, options, after);
            }
        }
    }
}

/// A run whose payload is complete, its launcher, and its init.
fn with_init() -> (Marked, Child, Pid) {
    let mut run = allgone(Whose::Own, &["--", "sh", "-c", PAYLOAD]);
    let child = run.command.spawn().unwrap();
    assert!(within(Duration::from_secs(5), || init_of(&child).is_some()
        && run.alive().len() > 4));
    let init = init_of(&child).unwrap();
    (run, child, init)
}

/// The launcher's one child.
pub(crate) fn init_of(launcher: &Child) -> Option<Pid> {
    let launcher = launcher.id();
    let children = format!("/proc/{launcher}/task/{launcher}/children");
    let text = std::fs::read_to_string(children).ok()?;
    text.trim().parse().ok().map(Pid::from_raw)
}

/// Cgroups that the program has made go too, as deep as they are.
#[test]
fn the_launcher_is_killed_and_the_program_has_made_cgroups() {
    let make = "IFS=:; while read -r _ controllers own; do \
                  [ -n \"$controllers\" ] && continue; \
                  for mount in /sys/fs/cgroup /sys/fs/cgroup/unified; do \
                    [ -e $mount/cgroup.procs ] && cd $mount$own && mkdir -p a/b/c d/e && break; \
                  done; done < /proc/self/cgroup; [ -d a/b ] && echo made || echo none; sleep 1000";
    let mut run = allgone(Whose::Own, &["--bare", "--", "bash", "-c", make]);
    run.command.stdout(Stdio::piped());
    let mut child = run.command.spawn().unwrap();
    let mut said = [0; 4];
    let mut out = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut said).unwrap();
    let number = child.id();
    let mine = cgroups(number);
    child.kill().unwrap();
    child.wait().unwrap();
    run.nothing_left();
    // Where there is no cgroup to be had, none is made in it.
    assert_eq!(&said == b"made", !mine.is_empty(), "{mine:?}");
    let removed = within(Duration::from_secs(1), || cgroups(number).is_empty());
    assert!(removed, "{:?}", cgroups(number));
}

/// What others have moved into the program's cgroup ends with it, whichever of the two is killed.
#[test]
fn one_is_killed_and_an_outsider_has_moved_in() {
    for options in [&[][..], &["--bare"], &["--tier", "cgroup"]] {
        for of_init in [false, true] {
            if !outsider_ends(options, of_init) {
                return;
            }
        }
    }
}

/// Whether there is a cgroup to move into.
fn outsider_ends(options: &[&str], of_init: bool) -> bool {
    let mut run = allgone(
        Whose::Own,
        &[options, &["--", "sh", "-c", PAYLOAD]].concat(),
    );
    run.command.stdin(Stdio::null());
    let mut child = run.command.spawn().unwrap();
    let complete = || init_of(&child).is_some() && run.alive().len() > 4;
    let complete = within(Duration::from_secs(10), complete);
    let (number, init) = (child.id(), init_of(&child));
    let group = cgroups(number).into_iter().next();
    let mut outsider = Command::new("sleep").arg("1000").spawn().unwrap();
    let moved = group.as_ref().map(|group| {
        let id = outsider.id().to_string();
        std::fs::write(group.join("cgroup.procs"), id)
    });
    let killed = if of_init {
        kill(init.unwrap(), Signal::SIGKILL)
    } else {
        kill(
            Pid::from_raw(i32::try_from(number).unwrap()),
            Signal::SIGKILL,
        )
    };
    child.wait().unwrap();
    let ended = || outsider.try_wait().unwrap().is_some();
    let ends = moved.is_some() && within(Duration::from_secs(5), ended);
    outsider.kill().unwrap();
    let status = outsider.wait().unwrap();
    run.nothing_left();
    let removed = within(Duration::from_secs(1), || cgroups(number).is_empty());
    if !has("cgroup2-write", group.is_some()) {
        return false;
    }
    let what = format!("{options:?}, init: {of_init}");
    assert!(complete, "{what}");
    moved.unwrap().unwrap();
    killed.unwrap();
    assert!(ends, "{what}: the outsider lives");
    assert_eq!(status.signal(), Some(9), "{what}");
    assert!(removed, "{what}: {:?}", cgroups(number));
    true
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
