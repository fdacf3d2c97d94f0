//! A program outside the workspace, with a lock file of its own, eight threads and a tokio runtime:
//! many hostile jobs at a time, without and with a guard. `ALLGONE_OUTSIDE_JOBS` says how many
//! (10 000 for the full count).
#![expect(clippy::tests_outside_test_module, reason = "the whole file is a test")]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

#[test]
fn a_program_outside_loses_no_job_and_leaves_nothing() {
    outside(&[], "");
}

#[test]
fn with_a_guard_it_has_no_child_and_gets_no_signal_either() {
    outside(&["guarded"], " with a guard");
}

fn outside(more: &[&str], how: &str) {
    // One after the other: each is built in the same directory, and loads the machine.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let jobs = std::env::var("ALLGONE_OUTSIDE_JOBS").unwrap_or_else(|_| "300".to_owned());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(here.join("tests/fixtures/outside/Cargo.toml"))
        .args(["--", &jobs, "256"])
        .args(more)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let wanted = format!("{jobs} jobs{how}, none lost, none early, no survivor, no cgroup left\n");
    assert_eq!(said, wanted);
}
