//! Teardown and survivors on real processes, in a base of this machine.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod support;

use std::time::Duration;

use allgone::survivors::{Reason, diagnose, unreaped};
use allgone::sys::time::now;
use allgone::teardown::{Progress, step, tear_down};

use support::{Shell, base};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_tree_of_children_and_deep_cgroups_goes_whole() {
    let Some(base) = base() else { return };
    let job = base.create().unwrap();
    let path = job.path().to_path_buf();
    let script = "mkdir -p \"$0/a/b/c/d\" \"$0/e\"; for d in a/b/c/d e a; do sleep 1000 >&2 & \
                  echo $! > \"$0/$d/cgroup.procs\"; done; echo ready; exec sleep 1000";
    let shell = Shell::start(&job, script);
    assert_eq!(diagnose(&job).unwrap().len(), 4);
    tear_down(job, now() + LONG).unwrap();
    assert!(!path.exists());
    shell.reap();
}

#[test]
fn a_step_says_what_it_met_and_what_is_gone() {
    let Some(base) = base() else { return };
    let job = base.create().unwrap();
    let shell = Shell::start(&job, "echo ready; exec sleep 1000");
    match step(&job, false).unwrap() {
        Progress::Killed(census) => assert_eq!(census.pids, [shell.pid()]),
        other => panic!("{other:?}"),
    }
    shell.reap();
    let again = job.try_clone().unwrap();
    tear_down(job, now() + LONG).unwrap();
    assert_eq!(
        step(&again, false),
        Ok(Progress::Gone),
        "somebody was first"
    );
}

#[test]
fn what_lives_is_named_with_the_reason_and_a_zombie_is_not() {
    let Some(base) = base() else { return };
    let job = base.create().unwrap();
    let shell = Shell::start(&job, "echo ready; exec sleep 1000");
    job.freeze(true).unwrap();
    let patience = now() + LONG;
    while !job.events().unwrap().frozen {
        assert!(!patience.has_passed(), "it does not freeze");
    }
    let found = diagnose(&job).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].pid, found[0].reason),
        (shell.pid(), Reason::FrozenV2)
    );
    let said = found[0].to_string();
    assert!(said.contains("cgroup.freeze is 1"), "{said}");
    job.freeze(false).unwrap();
    job.kill().unwrap();
    shell.wait_ended();
    assert_eq!(diagnose(&job).unwrap(), []);
    // From Linux 7.1 on exited processes are not listed any more.
    let waiting = unreaped(&job).unwrap();
    assert!(waiting.iter().all(|z| z.pid == shell.pid()), "{waiting:?}");
    shell.reap();
    tear_down(job, now() + LONG).unwrap();
}

#[test]
fn what_is_not_gone_in_time_comes_back_with_what_lives_there() {
    let Some(base) = base() else { return };
    let job = base.create().unwrap();
    let shell = Shell::start(&job, "echo ready; exec sleep 1000");
    // A deadline of now: what was just killed has not been removed yet.
    let left = tear_down(job, now()).unwrap_err();
    let said = left.to_string();
    assert!(
        said.contains("empty and remove") && left.survivors.is_ok(),
        "{said}"
    );
    tear_down(left.cgroup, now() + LONG).unwrap();
    shell.reap();
}
