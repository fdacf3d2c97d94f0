//! What jobs cost, against bare system calls, by turns in one run: `latency [ROUNDS] [MIB]`.
//!
//! - The end of a program, by a job's one descriptor and by a bare `waitpid(2)`: from the moment at
//!   which the program says that it ends to the return of the call. Programs live for 0 and 1 ms.
//! - A whole job (`true`: cgroup, spawn, wait, proof, removal) and `std::process::Command`, and
//!   both again with so many MiB resident.
//!
//! To be run in a release build on a machine that does nothing else. Prints medians, p99, ratios.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it is a measurement"
)]

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use allgone::job::Stdio;
use allgone::sys::time::{now, sleep_until};
use allgone::{Base, Command};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The program whose end is waited for: this one, with these words.
const ENDS: &str = "--ends-after-us";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == ENDS) {
        return end_after(words[1].parse().unwrap());
    }
    let rounds = words.first().map_or(300, |word| word.parse().unwrap());
    let mib: usize = words.get(1).map_or(2048, |word| word.parse().unwrap());
    let base = Base::find().unwrap();
    for life_us in [0, 1000] {
        let (mut jobs, mut bare) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // By turns, and each first as often as second.
            for turn in 0..2 {
                if (round + turn) % 2 == 0 {
                    jobs.push(by_job(&base, life_us));
                } else {
                    bare.push(by_waitpid(life_us));
                }
            }
        }
        report(&format!("latency, lifetime {life_us} us"), jobs, bare);
    }
    let little = whole(&base, rounds, 10);
    let much = whole(&base, rounds, mib);
    let ratio = much / little;
    println!("whole job, {mib} MiB resident against 10 MiB: {ratio:.2}");
}

/// Says when it ends, and ends.
fn end_after(us: u64) {
    sleep_until(now() + Duration::from_micros(us)).unwrap();
    println!("{}", now().0);
}

fn own() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

fn by_job(base: &Base, life_us: u64) -> u64 {
    let mut command = Command::new(own());
    command
        .args([ENDS, &life_us.to_string()])
        .stdout(Stdio::piped());
    let mut job = command.spawn(base).unwrap();
    let known = loop {
        let mut fds = [PollFd::new(job.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(10_000).unwrap()).unwrap();
        if let Some(done) = job.try_wait().unwrap() {
            assert!(done.success());
            // The removal that follows the proof is part of the whole job, and not of the latency.
            break done.known.0;
        }
    };
    known - said(job.stdout.take().unwrap())
}

fn by_waitpid(life_us: u64) -> u64 {
    let mut child = std::process::Command::new(own())
        .args([ENDS, &life_us.to_string()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    child.wait().unwrap();
    now().0 - said(stdout)
}

fn said(mut pipe: impl Read) -> u64 {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text.trim().parse().unwrap()
}

/// Median of whole jobs.
fn whole(base: &Base, rounds: u64, mib: usize) -> f64 {
    // Written to, so that it is resident.
    let held: Vec<u8> = (0..mib << 20).map(|at| at.to_le_bytes()[1]).collect();
    let (mut jobs, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for turn in 0..2 {
            let start = now();
            if (round + turn) % 2 == 0 {
                let mut job = Command::new("true").spawn(base).unwrap();
                let done = job.wait(now() + Duration::from_secs(10)).unwrap();
                assert!(done.unwrap().success());
                drop(job);
                jobs.push(now().0 - start.0);
            } else {
                assert!(
                    std::process::Command::new("true")
                        .status()
                        .unwrap()
                        .success()
                );
                bare.push(now().0 - start.0);
            }
        }
    }
    assert_eq!(held.len(), mib << 20);
    report(&format!("whole job, {mib} MiB resident"), jobs, bare)
}

/// Prints both; returns the median of the jobs in microseconds.
fn report(what: &str, jobs: Vec<u64>, bare: Vec<u64>) -> f64 {
    let quantiles = |mut all: Vec<u64>| {
        all.sort_unstable();
        let at = |permille: usize| all[(all.len() - 1) * permille / 1000] as f64 / 1000.0;
        (at(500), at(990))
    };
    let ((job, job_99), (bare, bare_99)) = (quantiles(jobs), quantiles(bare));
    println!(
        "{what}: job {job:.0} us (p99 {job_99:.0}), bare {bare:.0} us (p99 {bare_99:.0}), \
         ratio {:.2} (p99 {:.2})",
        job / bare,
        job_99 / bare_99
    );
    job
}
