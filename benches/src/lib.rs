//! What the groups of `cargo bench` share: a place on this machine, a workload, and a trial as a
//! figure.
//!
//! These figures are means of many repetitions with warm caches. They are not latencies with tails:
//! those come from recorded trials (`scenario measure`).
//!
//! Each group is a program of its own in `benches/`. It runs below a cgroup that the harness's
//! [`Run`](harness::trial::Run) makes and removes, under its protection, so that nothing stays
//! behind, whatever ends it. What this machine does not offer is left out, with a message.
#![expect(
    clippy::print_stderr,
    reason = "a part of programs, not a library for others: what was left out must be said"
)]

mod frame;
pub mod trials;
pub mod workload;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use criterion::Criterion;

pub use frame::Frame;

/// One group of benchmarks.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its name, with which the names of its benchmarks begin.
    pub name: &'static str,
    /// What needs only Linux.
    pub anywhere: fn(&mut Criterion),
    /// What needs a cgroup.
    pub in_cgroup: fn(&mut Criterion, &mut Frame<'_>),
}

/// The whole program of a group.
pub fn main(group: &Group) -> ExitCode {
    workload::main_if_workload();
    let mut criterion = criterion();
    (group.anywhere)(&mut criterion);
    let ended = frame::with(group.name, |frame| (group.in_cgroup)(&mut criterion, frame));
    criterion.final_summary();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Criterion as the command line wants it. Here a repetition takes milliseconds and a group has
/// dozens of rows, so fewer and shorter samples are the default.
fn criterion() -> Criterion {
    // With `--quick` the measurement time is when Criterion gives up waiting for a mean that no
    // longer moves.
    let quick = std::env::args().any(|arg| arg == "--quick");
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(if quick { 250 } else { 3_000 }))
        .configure_from_args()
}

/// Says what is not measured here, and why.
pub fn left_out(id: impl fmt::Display, why: impl fmt::Display) {
    eprintln!("left out: {id}: {why}");
}
