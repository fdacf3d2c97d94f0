//! What is special about a scenario's surroundings is really there: a sleep that no signal ends, a
//! limit that takes the processor away, a program that makes its process another user's. If it were
//! not, the scenario would pass as an ordinary one.

use std::fs;
use std::os::unix::fs::MetadataExt;

use allgone::survivors::{Reason, diagnose};
use harness::cgroup::Cgroup;
use harness::record::{Outcome, TrialRecord};
use nix::sys::signal::Signal;

use super::common::{Test, cgroups_of, ensure, told, wait_until};
use super::needs::{CGROUP2_WRITE, PIDS_LIMIT, ROOT};
use super::outside::{begin, records};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let test = |name: &str, need, body: fn() -> Result<(), String>| {
        let needs = [CGROUP2_WRITE, PIDS_LIMIT, ROOT, need];
        Test::new(format!("staged::{name}"), &needs, body)
    };
    vec![
        test(
            "a_process_in_uninterruptible_sleep_outlives_its_sigkill",
            "userfaultfd",
            uninterruptible,
        ),
        test(
            "processes_without_processor_time_are_throttled_and_their_end_is_told",
            "cpu-limit",
            throttled,
        ),
        test(
            "a_set_user_id_program_is_missed_by_user_and_reached_by_cgroup",
            "setuid-file",
            another_user,
        ),
    ]
}

/// The site of the trial that the command `pid` plays now, if there is one.
fn site(pid: u32) -> Option<Cgroup> {
    let runs = cgroups_of(pid).into_iter();
    let parts = runs.filter_map(|run| fs::read_dir(run).ok()).flatten();
    parts
        .flatten()
        .filter(|part| part.file_name().to_string_lossy().starts_with("trial-"))
        .find_map(|part| Cgroup::open(part.path().join("site")).ok())
}

/// The processes in it. One that makes it go away at the same time leaves none.
fn members(pid: u32) -> Vec<i32> {
    let listed = site(pid).and_then(|site| site.procs().ok());
    listed.map(|listed| listed.pids).unwrap_or_default()
}

fn status(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// The value of a line of `/proc/PID/status`.
fn value<'a>(status: &'a str, name: &str) -> &'a str {
    let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
    lines
        .find(|(key, _)| *key == name)
        .map_or("", |line| line.1)
}

/// Runs the command to its end, with `look` at it from when it begins. Returns its records, all of
/// which are as expected.
fn played(args: &str, what: &str, look: impl Fn(u32) -> bool) -> Result<Vec<TrialRecord>, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (child, out) = begin(dir.path(), args)?;
    let pid = child.id();
    let seen = wait_until(what, || look(pid));
    let (code, text, err) = told(&child.wait_with_output().map_err(|e| e.to_string())?);
    seen?;
    ensure(code == Some(0), || format!("{code:?} {text} {err}"))?;
    records(&out)
}

/// Which of the trials becomes ready before it sleeps is not certain, but not all do.
fn uninterruptible() -> Result<(), String> {
    let sleeps_on = |pid| {
        let status = status(pid);
        let pending = ["SigPnd", "ShdPnd"].iter().any(|name| {
            let mask = u64::from_str_radix(value(&status, name), 16).unwrap_or(0);
            mask & 1 << (Signal::SIGKILL as u32 - 1) != 0
        });
        value(&status, "State").starts_with('D') && pending
    };
    let all = played(
        "uninterruptible --detector none --kill cgroup-kill --trials 20",
        "a process in state D has a SIGKILL pending",
        |run| members(run).into_iter().any(sleeps_on),
    )?;
    ensure(
        all.len() == 20 && all.iter().all(|record| record.outcome == Outcome::Emptied),
        || format!("{all:?}"),
    )
}

fn throttled() -> Result<(), String> {
    let all = played(
        "cpu-throttled --set lifetime=3s --detector cgroup-events-poll --kill none --trials 1 \
            --deadline 30s",
        "a process is throttled",
        |run| {
            let found = site(run).and_then(|site| diagnose(&site).ok());
            let mut found = found.unwrap_or_default().into_iter();
            found.any(|survivor| survivor.reason == Reason::Throttled)
        },
    )?;
    ensure(
        matches!(&all[..], [one] if one.outcome == Outcome::Right),
        || format!("{all:?}"),
    )
}

fn another_user() -> Result<(), String> {
    let is_another = |pid: i32| {
        let Ok(program) = fs::metadata(format!("/proc/{pid}/exe")) else {
            return false;
        };
        let owner = program.uid().to_string();
        let status = status(pid);
        let mut users = value(&status, "Uid").split('\t');
        program.mode() & 0o4000 != 0 && owner != "0" && users.all(|user| user == owner)
    };
    let seen = std::cell::RefCell::new(Vec::new());
    let all = played(
        "setuid-child --detector none --kill kill-uid,cgroup-kill --trials 1 --deadline 2s",
        "a process is that of the file's owner, and `kill-uid` has missed it",
        |run| {
            let mut seen = seen.borrow_mut();
            seen.extend(members(run).into_iter().filter(|pid| is_another(*pid)));
            // The cgroup is killed at once; the other kill is followed by its deadline.
            seen.len() >= 20
        },
    )?;
    let of = |id: &str| {
        let mut those = all.iter().filter(|r| r.strategy.as_deref() == Some(id));
        those.next().ok_or_else(|| format!("no trial of {id}"))
    };
    let (missed, reached) = (of("kill-uid")?, of("cgroup-kill")?);
    let [survivor] = &missed.survivors[..] else {
        return Err(format!("not one survivor: {missed:?}"));
    };
    ensure(
        missed.outcome == Outcome::Survived && seen.borrow().contains(&survivor.pid),
        || format!("{missed:?}"),
    )?;
    ensure(reached.outcome == Outcome::Emptied, || {
        format!("{reached:?}")
    })
}
