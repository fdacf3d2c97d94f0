//! What jobs cost, against bare system calls, by turns in one run: `latency [ROUNDS] [MIB]`.
//!
//! - The end of a program, by a job's one descriptor and by a bare `waitpid(2)`: from the moment at
//!   which the program says that it ends to the one at which that is known. Programs live for 0 and
//!   1 ms. An orphan is the last process of a job, and its parent, the first one, has ended before.
//!   By default a job has a session of its own, which the bare process has not: the kernel makes a
//!   group for its scheduler with it, and takes that apart while the process ends
//!   (`CONFIG_SCHED_AUTOGROUP`). A row shows the job without.
//! - A whole job (`true`: cgroup, spawn, wait, proof, removal) and `std::process::Command`, with 10
//!   MiB and with MIB (2048) resident. A fresh guard is started for the one job; its end is counted
//!   in a row of its own.
//!
//! To be run in a release build on a machine that does nothing else. Prints a table: medians, 99th
//! percentiles, and ratios to the bare row of the same run.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it is a measurement"
)]

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use allgone::job::{Guarded, Place, Stdio};
use allgone::sys::spawn::Session;
use allgone::sys::time::{now, sleep_until};
use allgone::{Base, Command};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::getppid;

/// The program whose end is waited for: this one, with these words and a lifetime.
const ENDS: &str = "--ends-after-us";
/// The first process of a job whose last is an orphan.
const LEAVES: &str = "--leaves-one-that-ends-after-us";
/// The orphan: waits for that first.
const LEFT: &str = "--is-left-and-ends-after-us";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match (
        words.first().map_or("", String::as_str),
        words.get(1).map_or("", String::as_str),
    ) {
        (ENDS, us) => end_after(us),
        (LEAVES, us) => leave(us),
        (LEFT, us) => {
            let parent: i32 = words[2].parse().unwrap();
            while getppid().as_raw() == parent {
                std::hint::spin_loop();
            }
            end_after(us);
        }
        (rounds, mib) => {
            let or = |word: &str, default| match word {
                "" => default,
                word => word.parse().unwrap(),
            };
            measure(or(rounds, 500), or(mib, 2048));
        }
    }
}

/// Says when it ends, and ends.
fn end_after(us: &str) {
    let life = Duration::from_micros(us.parse().unwrap());
    sleep_until(now() + life).unwrap();
    println!("{}", now().0);
}

#[expect(
    clippy::zombie_processes,
    reason = "it is to be an orphan, and another's zombie"
)]
fn leave(us: &str) {
    std::process::Command::new(own())
        .args([LEFT, us, &std::process::id().to_string()])
        .spawn()
        .unwrap();
}

fn own() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

fn measure(rounds: usize, mib: usize) {
    let base = Base::find().unwrap();
    let guarded = Guarded::start(&base).unwrap();
    println!("| What | median, us | p99, us | ratio | p99 ratio | ratio wanted |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for us in ["0", "1000"] {
        report(
            &format!("end, lifetime {us} us"),
            by_turns(
                rounds,
                [
                    ("bare waitpid", "", &mut || by_waitpid(us)),
                    ("job", "1.25", &mut || by_job(&base, Session::New, ENDS, us)),
                    ("job in the host's session", "1.25", &mut || {
                        by_job(&base, Session::Inherit, ENDS, us)
                    }),
                    ("guarded job", "2.0", &mut || {
                        by_job(&guarded, Session::New, ENDS, us)
                    }),
                    ("guarded job, an orphan", "2.0", &mut || {
                        by_job(&guarded, Session::New, LEAVES, us)
                    }),
                    ("job, an orphan", "", &mut || {
                        by_job(&base, Session::New, LEAVES, us)
                    }),
                ],
            ),
        );
    }
    let little = whole(&base, &guarded, rounds, 10);
    let much = whole(&base, &guarded, rounds, mib);
    println!();
    for (little, much) in little.iter().zip(&much) {
        let ratio = much.1 / little.1;
        println!(
            "whole job, {mib} MiB resident against 10 MiB, {}: {ratio:.2} (wanted: 1.1)",
            little.0
        );
    }
}

/// Names with medians in microseconds.
type Medians = Vec<(&'static str, f64)>;

fn whole(base: &Base, guarded: &Guarded, rounds: usize, mib: usize) -> Medians {
    // Written to, so that it is resident.
    let held: Vec<u8> = (0..mib << 20).map(|at| at.to_le_bytes()[1]).collect();
    let fresh = |end_too: bool| {
        let start = now();
        let guarded = Guarded::start(base).unwrap();
        run(&guarded);
        let proved = now();
        drop(guarded);
        (if end_too { now() } else { proved }).0 - start.0
    };
    let rows = by_turns(
        rounds,
        [
            ("std::process::Command", "", &mut || {
                let start = now();
                let status = std::process::Command::new("true").status();
                assert!(status.unwrap().success());
                now().0 - start.0
            }),
            ("job", "1.35", &mut || run(base)),
            ("guarded job", "1.5", &mut || run(guarded)),
            ("job with a fresh guard", "2.2", &mut || fresh(false)),
            ("the same and the guard's end", "", &mut || fresh(true)),
        ],
    );
    assert_eq!(held.len(), mib << 20);
    report(&format!("whole, {mib} MiB resident"), rows)
}

fn run(place: &impl Place) -> u64 {
    let start = now();
    let mut job = Command::new("true").spawn(place).unwrap();
    let done = job.wait(start + Duration::from_secs(10)).unwrap().unwrap();
    assert!(done.success() && done.proof.is_removed());
    drop(job);
    now().0 - start.0
}

fn by_job(place: &impl Place, session: Session, what: &str, us: &str) -> u64 {
    let mut command = Command::new(own());
    command.session(session);
    command.args([what, us]).stdout(Stdio::piped());
    let mut job = command.spawn(place).unwrap();
    let known = loop {
        let mut fds = [PollFd::new(job.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(10_000).unwrap()).unwrap();
        if let Some(done) = job.try_wait().unwrap() {
            assert!(done.success());
            // What follows (reaping, removal) is part of the whole job, and not of the latency.
            break done.known.0;
        }
    };
    known - said(job.stdout.take().unwrap())
}

fn by_waitpid(us: &str) -> u64 {
    let mut child = std::process::Command::new(own())
        .args([ENDS, us])
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

/// A name, the ratio that is wanted, and what is measured.
type Way<'a> = (&'static str, &'static str, &'a mut dyn FnMut() -> u64);

/// A name, the ratio that is wanted, and nanoseconds.
type Row = (&'static str, &'static str, Vec<u64>);

/// Each way once a round, and each in every place as often as the others.
fn by_turns<const N: usize>(rounds: usize, ways: [Way<'_>; N]) -> Vec<Row> {
    let row = |way: &Way<'_>| (way.0, way.1, Vec::with_capacity(rounds));
    let mut rows: Vec<Row> = ways.iter().map(row).collect();
    for round in 0..rounds {
        for turn in 0..N {
            let at = (round + turn) % N;
            rows[at].2.push((ways[at].2)());
        }
    }
    rows
}

/// Prints them against the first; returns the medians.
fn report(what: &str, rows: Vec<Row>) -> Medians {
    let mut medians = Medians::new();
    let mut bare = None;
    for (name, wanted, mut all) in rows {
        all.sort_unstable();
        let at = |permille: usize| all[(all.len() - 1) * permille / 1000] as f64 / 1000.0;
        let (median, p99) = (at(500), at(990));
        let (bare, bare_99) = *bare.get_or_insert((median, p99));
        println!(
            "| {what}: {name} | {median:.0} | {p99:.0} | {:.2} | {:.2} | {wanted} |",
            median / bare,
            p99 / bare_99
        );
        medians.push((name, median));
    }
    medians
}
