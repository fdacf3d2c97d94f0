//! Deaths: of hosts, of guards, of seconds, at random moments. One second later nothing lives, and
//! no cgroup is left.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use allgone::guard::Said;
use allgone::limits::LimitSource;
use allgone::sys::time::{now, sleep_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Test;
use crate::base::{Base, PATIENCE, Shell, pid_of, until};

pub(crate) const TESTS: &[Test] = &[
    ("hosts_die", hosts_die),
    ("guards_die", guards_die),
    (
        "a_process_without_its_first_thread_dies_as_well",
        a_process_without_its_first_thread_dies_as_well,
    ),
    (
        "a_second_that_dies_is_replaced",
        a_second_that_dies_is_replaced,
    ),
    ("both_die_and_the_host_knows", both_die_and_the_host_knows),
    (
        "a_host_keeps_its_children_and_signals",
        a_host_keeps_its_children_and_signals,
    ),
    ("a_fork_is_not_the_host", a_fork_is_not_the_host),
    (
        "a_host_that_forks_keeps_its_jobs",
        a_host_that_forks_keeps_its_jobs,
    ),
    (
        "a_guard_without_descriptors_refuses_and_goes_on",
        a_guard_without_descriptors_refuses_and_goes_on,
    ),
    (
        "a_guard_without_tasks_refuses_and_goes_on",
        a_guard_without_tasks_refuses_and_goes_on,
    ),
];

/// The promise.
pub(crate) const ONE_SECOND: Duration = Duration::from_secs(1);

pub(crate) fn host(base: &Base, args: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("host")
        .arg(base.path())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn count(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// A moment below `most_us`: the clock's last digits are as good as any.
pub(crate) fn moment(most_us: u64) -> u64 {
    let x = now().0.wrapping_mul(6_364_136_223_846_793_005);
    (x >> 33) % most_us
}

/// `GUARD_DEATHS` hosts, 30 without.
fn hosts_die() {
    const ENDS: [&str; 7] = [
        "kill",
        "abort",
        "exit",
        "exec",
        "fork-kill",
        "fork-exit",
        "fork-exec",
    ];
    let mut longest = Duration::ZERO;
    for death in 0..count("GUARD_DEATHS", 30) {
        let base = Base::must();
        let end = ENDS[death % ENDS.len()];
        // From before the guard is there until all jobs are.
        let after_us = moment(60_000);
        let mut child = host(&base, &[end, &after_us.to_string()]);
        let pid = Pid::from_raw(child.id().cast_signed());
        let stdin: ChildStdin = child.stdin.take().unwrap();
        if end.ends_with("kill") {
            sleep_until(now() + Duration::from_micros(after_us)).unwrap();
            kill(pid, Signal::SIGKILL).unwrap();
        }
        if end.ends_with("exec") {
            let comm = format!("/proc/{pid}/comm");
            let other = || (std::fs::read_to_string(&comm).unwrap() == "cat\n").then_some(());
            until(PATIENCE, other).unwrap();
        } else {
            child.wait().unwrap();
        }
        longest = longest.max(base.wait_clear(ONE_SECOND));
        drop(stdin);
        child.wait().unwrap();
    }
    println!("after a host's death all was gone within {longest:?}");
}

/// Its host dies when there is such a process.
fn a_process_without_its_first_thread_dies_as_well() {
    let base = Base::must();
    let mut child = host(&base, &["kill", "0"]);
    let is_leaderless = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("State:\tZ") && status.contains("Threads:\t2")
    };
    let there = || {
        let cgroups = std::fs::read_dir(base.path()).unwrap().flatten();
        let lists = cgroups
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("cgroup.procs")).ok());
        let mut leaderless = lists.filter(|list| list.lines().any(is_leaderless));
        leaderless.next().map(|_| ())
    };
    until(PATIENCE, there).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    base.wait_clear(ONE_SECOND);
}

/// `GUARD_DEATHS` / 3 guards, 10 without.
fn guards_die() {
    let mut longest = Duration::ZERO;
    for _ in 0..count("GUARD_DEATHS", 30).div_ceil(3) {
        let base = Base::must();
        let mut child = host(&base, &["lose"]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let guard: i32 = lines.next().unwrap().unwrap().parse().unwrap();
        sleep_until(now() + Duration::from_micros(moment(40_000))).unwrap();
        kill(Pid::from_raw(guard), Signal::SIGKILL).unwrap();
        let begun = now();
        assert_eq!(lines.next().unwrap().unwrap(), "lost");
        base.wait_clear(ONE_SECOND);
        longest = longest.max(Duration::from_nanos(now().0 - begun.0));
        assert!(child.wait().unwrap().success());
    }
    println!("after a guard's death all was gone within {longest:?}");
}

pub(crate) fn second_of(guard: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).ok()?;
    children
        .split_whitespace()
        .map(|pid| pid.parse::<i32>().unwrap())
        .find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm == "allgone-second\n")
        })
}

fn a_second_that_dies_is_replaced() {
    let base = Base::must();
    let guard = base.guard();
    let pid = pid_of(&guard);
    let mut shell = Shell::start(&guard, &base.cgroup, 1, "setsid sleep 1000 & exit 0");
    let first = until(PATIENCE, || second_of(pid)).unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let next = until(PATIENCE, || {
        second_of(pid).filter(|second| *second != first)
    })
    .unwrap();
    assert_ne!(next, first);
    assert!(matches!(shell.next(), Said::Ended(_)));
    assert!(
        shell.spawned.channel.hear().unwrap().is_none(),
        "the job lives"
    );
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    base.wait_clear(ONE_SECOND);
    assert!(matches!(shell.next(), Said::Died));
    until(PATIENCE, || guard.has_died().unwrap().then_some(())).unwrap();
}

fn both_die_and_the_host_knows() {
    let base = Base::must();
    let guard = base.guard();
    let pid = pid_of(&guard);
    let mut shell = Shell::start(&guard, &base.cgroup, 1, "setsid sleep 1000 & wait");
    let second = until(PATIENCE, || second_of(pid)).unwrap();
    for pid in [second, pid] {
        // Stopped first, so that the guard makes no other.
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    }
    for pid in [second, pid] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    assert!(matches!(shell.next(), Said::Died));
    assert!(
        shell.cgroup.events().unwrap().populated,
        "nobody is there to end it but the host"
    );
    shell.cgroup.kill().unwrap();
    until(PATIENCE, || base.cgroup.remove_child("test.1").ok()).unwrap();
    drop(guard);
    base.wait_clear(PATIENCE);
}

pub(crate) fn ends_with(base: &Base, mode: &str, word: &str) {
    says(base, &[mode], word);
}

fn says(base: &Base, args: &[&str], word: &str) {
    let mut child = host(base, args);
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text.trim_end(), word);
    base.wait_clear(PATIENCE);
}

fn a_host_keeps_its_children_and_signals() {
    ends_with(&Base::must(), "quiet", "quiet");
}

fn a_fork_is_not_the_host() {
    ends_with(&Base::must(), "fork", "refused");
}

fn a_host_that_forks_keeps_its_jobs() {
    ends_with(&Base::must(), "forks", "forked");
}

fn a_guard_without_descriptors_refuses_and_goes_on() {
    ends_with(&Base::must(), "few-descriptors", "refused");
}

/// A limit on tasks, in whichever version of cgroups it can be had.
fn a_guard_without_tasks_refuses_and_goes_on() {
    let base = Base::must();
    let found = allgone::Base::find().unwrap();
    if let LimitSource::V1 { pids, .. } = found.limits() {
        let name = format!("allgone-guard-test-{}-tasks", std::process::id());
        let dir = pids.path.join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("pids.max"), "16").unwrap();
        says(&base, &["few-tasks", dir.to_str().unwrap()], "refused");
        until(PATIENCE, || std::fs::remove_dir(&dir).ok()).unwrap();
    } else {
        base.cgroup.write("pids.max", "16").unwrap();
        says(&base, &["few-tasks"], "refused");
    }
}
