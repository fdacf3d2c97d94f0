//! The foundations of a trial, tested with real cgroups: births, trees, reaping.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use harness::cgroup::{Census, Cgroup};
use harness::record::Outcome;
use harness::sys::interrupt::{Handled, Words};
use harness::sys::pidfd;
use harness::sys::spawn::{Entry, Plan, spawn};
use harness::sys::wait::{Whose, waitid};
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use super::common::{Test, ensure, reference, spec, start, wait_until};
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP};
use super::place::{Place, sleep_for_ever};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "spawn::no_handler_of_the_host_runs_before_the_first_instruction_either",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP],
            no_handler,
        ),
        Test::new(
            "spawn::a_tree_deeper_than_a_path_is_walked_emptied_and_removed",
            &[CGROUP2_WRITE],
            deep_tree,
        ),
        Test::new(
            "spawn::an_orphan_that_dies_of_a_real_time_signal_does_not_end_the_run",
            &[CGROUP2_WRITE],
            real_time_signal,
        ),
    ]
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// A child that is born in a frozen cgroup has not run when the signal comes. The handler is that
/// of an interruption, which ends a copy of its process by an exit code instead of the signal.
fn no_handler() -> Result<(), String> {
    static WORDS: Words = Words {
        removed: "",
        left: "",
        guard: "",
    };
    let place = Place::make()?;
    let cgroup = &place.site.cgroup;
    cgroup.freeze(true).map_err(text)?;
    let null = File::open("/dev/null").map_err(text)?;
    let me = pidfd::open(Pid::this()).map_err(text)?;
    let handled =
        Handled::install(null.as_fd(), [me.as_fd(), me.as_fd()], 1, &WORDS).map_err(text)?;
    ensure(
        handled.signals().any(|signal| signal == Signal::SIGTERM),
        || "SIGTERM is ignored here, so nothing can be shown".to_owned(),
    )?;
    let program = File::open("/bin/true").map_err(text)?;
    let argv = [c"true".to_owned()];
    let spawned = spawn(&Plan {
        cgroup: Some(cgroup.as_fd()),
        ..Plan::new(program.as_fd(), &argv)
    })
    .map_err(text)?;
    ensure(spawned.entry == Entry::Born, || {
        format!("{:?}", spawned.entry)
    })?;
    pidfd::send_signal(spawned.pidfd.as_fd(), Some(Signal::SIGTERM)).map_err(text)?;
    drop(handled);
    cgroup.freeze(false).map_err(text)?;
    let end = waitid(Whose::Pidfd(spawned.pidfd.as_fd()), WaitPidFlag::WEXITED).map_err(text)?;
    let signal = end.and_then(|end| end.signal());
    ensure(signal == Some(libc::SIGTERM), || {
        format!("the child ended so: {end:?}")
    })
}

/// A tree that a delegated workload may create: deeper than a path may be long.
fn deep_tree() -> Result<(), String> {
    const DEPTH: usize = 300;
    let place = Place::make()?;
    let site = &place.site.cgroup;
    let mut deepest = site.try_clone().map_err(text)?;
    for _ in 0..DEPTH {
        deepest = deepest.create("deeper-and-deeper").map_err(text)?;
    }
    ensure(Cgroup::open(deepest.path()).is_err(), || {
        "its path is short enough".to_owned()
    })?;
    let member =
        harness::sys::fork::worker(0, Some(deepest.as_fd()), sleep_for_ever).map_err(text)?;
    let found = site.procs_recursive().map_err(text)?.pids;
    ensure(found == [member.pid.as_raw()], || {
        format!("the walk found {found:?}")
    })?;
    let census = Census::deep(site).map_err(text)?;
    ensure(census.cgroups.len() == DEPTH + 1, || {
        format!("{} cgroups", census.cgroups.len())
    })?;

    pidfd::send_signal(member.pidfd.as_fd(), Some(Signal::SIGKILL)).map_err(text)?;
    waitid(
        Whose::Pidfd(member.pidfd.as_fd()),
        WaitPidFlag::WEXITED | WaitPidFlag::__WALL,
    )
    .map_err(text)?;
    // The deepest by itself, then all the others. A process that has been reaped may still be a
    // member.
    wait_until("the deepest is removed", || {
        deepest
            .try_clone()
            .is_ok_and(|deepest| deepest.remove_tree().is_ok())
    })?;
    site.remove_descendants().map_err(text)?;
    let left = site.children().map_err(text)?.count();
    ensure(left == 0, || format!("{left} are left"))
}

/// A workload's orphan comes to the harness, which has to reap it whatever signal it died of.
fn real_time_signal() -> Result<(), String> {
    let mut run = start();
    let orphan = Command::new("sh")
        .args(["-c", "kill -40 $$"])
        .spawn()
        .map_err(text)?;
    let pid = Pid::from_raw(orphan.id().cast_signed());
    // It is dead, and not reaped, when the trial begins.
    let end = waitid(Whose::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).map_err(text)?;
    let scenario = scenarios::by_id("fork-exit").ok_or("no such scenario")?;
    let record = run.trial(&spec(scenario, reference(), None));
    let leaks = run.finish().map_err(text)?;
    ensure(end.and_then(|end| end.signal()) == Some(40), || {
        format!("{end:?}")
    })?;
    ensure(leaks.is_clean(), || leaks.to_string())?;
    let record = record.map_err(text)?;
    ensure(
        record.outcome != Outcome::Broken && record.errors.is_empty(),
        || format!("{:?} {:?}", record.outcome, record.errors),
    )?;
    let again = waitid(Whose::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
    ensure(again == Err(nix::errno::Errno::ECHILD), || {
        "it has not been reaped".to_owned()
    })
}
