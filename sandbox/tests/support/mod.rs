//! What all tests with real runs share: waiting, and looking for what is left.

use std::fs;
use std::time::Duration;

use allgone::sys::time::{now, sleep_until};

/// Processes with this variable, `NAME=VALUE`, in their environment.
pub(crate) fn bearing(variable: &str) -> Vec<String> {
    let bears = |environ: Vec<u8>| {
        let mut lines = environ.split(|byte| *byte == 0);
        lines.any(|line| line == variable.as_bytes())
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        // What has just ended has no environment.
        if fs::read(path.join("environ")).is_ok_and(bears) {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            found.push(format!("{path:?}: {}", String::from_utf8_lossy(&line)));
        }
    }
    found
}

/// Whether `condition` comes true before the limit.
pub(crate) fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = now() + limit;
    loop {
        if condition() {
            return true;
        }
        if deadline.has_passed() {
            return false;
        }
        sleep_until(now() + Duration::from_millis(2)).unwrap();
    }
}

/// Whether this machine has what a test needs. What is missing is said, and fails the test if
/// `HARNESS_REQUIRE` names it, as in the tests of `scenarios`: a machine that is meant to have it
/// cannot pass by not having it.
#[expect(clippy::print_stderr, reason = "the runner shows it with --nocapture")]
pub(crate) fn has(feature: &str, present: bool) -> bool {
    let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| name == feature);
    assert!(
        present || !required,
        "{feature} is required, and missing here"
    );
    if !present {
        eprintln!("not tried: {feature} is missing here");
    }
    present
}
