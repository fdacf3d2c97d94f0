//! A stop from outside (SIGSTOP) is recognised where the kernel tells of it, and breaks the trial.

use std::path::Path;
use std::time::Duration;

use harness::kill;
use harness::param::FOREVER;
use harness::record::{Cause, Outcome};
use harness::sys::fork::worker;
use harness::sys::time::{now, sleep_until};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;
use scenarios::script::{Op, Script};

use super::common::{Test, ensure, play, reference, spec, told, wait_until};
use super::needs::{CGROUP2_WRITE, PIDS_LIMIT, STOPPABLE};
use super::outside::{begin, members, note_of, records};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "stopped::whatever_is_stopped_breaks_the_trial_and_is_named",
            &[CGROUP2_WRITE],
            stopped,
        ),
        Test::new(
            "stopped::a_stopped_tree_is_not_ready_to_be_killed",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            stopped_before_it_was_ready,
        ),
        Test::new(
            "stopped::a_harness_that_does_not_run_blames_no_mechanism_for_being_late",
            &[CGROUP2_WRITE, STOPPABLE],
            harness_stopped,
        ),
    ]
}

/// SIGSTOP to the observer, for ever and for a moment, and to the main process.
fn stopped() -> Result<(), String> {
    for (dir_of_victim, goes_on) in [
        ("control", false),
        ("control", true),
        ("trial-0/site", false),
    ] {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let args =
            "exit-now --set lifetime=2s --deadline 5s --trials 1 --detector cgroup-events-poll";
        let (child, out) = begin(dir.path(), args)?;
        let pid = child.id();
        wait_until("the workload plays", || {
            members(pid, "trial-0/site").iter().any(|pid| sleeps(*pid))
        })?;
        let victim = members(pid, dir_of_victim)[0];
        send(Pid::from_raw(victim), Signal::SIGSTOP).map_err(|e| e.to_string())?;
        // The harness may have ended it by then.
        wait_until("it is stopped", || {
            ['T', 'Z', 'X'].iter().any(|state| state_is(victim, *state)) || is_gone(victim)
        })?;
        if goes_on {
            match send(Pid::from_raw(victim), Signal::SIGCONT) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        let (code, text, err) = told(&child.wait_with_output().map_err(|e| e.to_string())?);
        let what = format!("{dir_of_victim}, {goes_on}: {code:?} {text} {err}");
        ensure(code == Some(5), || what.clone())?;
        let record = &records(&out)?[0];
        let note = note_of(record);
        ensure(
            record.cause == Some(Cause::StoppedFromOutside)
                && note.contains(&format!("process {victim} was stopped")),
            || format!("{what} {record:?}"),
        )?;
        ensure(text.contains("Nothing was left behind"), || what.clone())?;
    }
    Ok(())
}

fn sleeps(pid: i32) -> bool {
    state_is(pid, 'S')
}

/// False of a process that is gone.
fn state_is(pid: i32, state: char) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains(&format!("State:\t{state}"))
}

fn is_gone(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

/// A tree that never becomes ready, because a process of it is stopped.
fn stopped_before_it_was_ready() -> Result<(), String> {
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let strategy = kill::by_id("cgroup-kill").ok_or("not registered")?;
    let mut spec = spec(scenario, reference(), Some(strategy));
    let script = Script::new(vec![vec![Op::Live { ns: FOREVER }]]).map_err(|e| e.to_string())?;
    spec.workload = scenarios::workload(&script).map_err(|e| e.to_string())?;
    spec.stage.says_ready = true;
    let me = std::process::id();
    // The run reaps it.
    worker(0, None, || {
        let stop = || {
            let victim = members(me, "trial-0/site")
                .into_iter()
                .find(|pid| sleeps(*pid));
            victim.is_some_and(|pid| send(Pid::from_raw(pid), Signal::SIGSTOP).is_ok())
        };
        i32::from(wait_until("it plays", stop).is_err())
    })
    .map_err(|e| e.to_string())?;
    let record = play(&spec)?;
    ensure(record.cause == Some(Cause::StoppedFromOutside), || {
        format!("{record:?}")
    })
}

/// The deadline passes while the tree lives, which is not what is expected here. With a harness
/// that ran all the time this is held against the mechanism.
fn harness_stopped() -> Result<(), String> {
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let mut spec = spec(scenario, reference(), None);
    let live = Op::Live { ns: 1_500_000_000 };
    let script = Script::new(vec![vec![live]]).map_err(|e| e.to_string())?;
    spec.workload = scenarios::workload(&script).map_err(|e| e.to_string())?;
    spec.deadline = Duration::from_millis(500);
    let record = play(&spec)?;
    ensure(
        record.outcome == Outcome::StillRunning && !record.held && record.cause.is_none(),
        || format!("{record:?}"),
    )?;
    let me = std::process::id();
    // The run reaps it.
    worker(0, None, || {
        let plays = || members(me, "trial-0/site").iter().any(|pid| sleeps(*pid));
        let stopped = wait_until("it plays", plays).and_then(|()| {
            let harness = Pid::parent();
            send(harness, Signal::SIGSTOP).map_err(|e| e.to_string())?;
            // The harness waits for at most a second at a time.
            sleep_until(now() + Duration::from_millis(3_500)).map_err(|e| e.to_string())?;
            send(harness, Signal::SIGCONT).map_err(|e| e.to_string())
        });
        i32::from(stopped.is_err())
    })
    .map_err(|e| e.to_string())?;
    let record = play(&spec)?;
    ensure(record.cause == Some(Cause::NotScheduled), || {
        format!("{record:?}")
    })
}
