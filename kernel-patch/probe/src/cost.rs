//! What the life of a job costs if nothing watches its cgroup, and no file of it is open.
//!
//! On a machine with one CPU in virtual time (`lab cost`) an instruction takes a nanosecond and
//! nothing idles, so these times are counts of instructions: of this program, of the job, and of
//! the kernel, with its interrupts and with the deferred work that runs within the batch.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use allgone_sys::fork::worker;
use allgone_sys::time::{now, sleep_until};
use anyhow::{Context, Result};
use nix::errno::Errno;

use crate::Answer;
use crate::site::{OwnCgroup, PATIENCE, ns_between, reap};

/// Jobs of one sample, which is their mean: work that is put off by one is done during a later one.
const BATCH: u64 = 100;
/// Levels that become empty with the job of [`Case::Nested`].
const LEVELS: usize = 3;
/// Between batches: what one has put off is over when the next begins.
const SETTLE_NS: u64 = 100_000_000;

#[derive(Debug, Clone, Copy)]
enum Case {
    /// No job: a loop that needs no kernel, the same instructions everywhere.
    Reference,
    /// The job is born in the cgroup of this program, which stays populated.
    NoCgroup,
    /// All jobs of a batch are born in one cgroup, which exists already.
    Kept,
    /// Each job has a cgroup of its own, made before and removed after it.
    Own,
    /// As `Own`, at the bottom of [`LEVELS`] cgroups that are made and removed with it.
    Nested,
}

/// They take turns.
const CASES: [(Case, &str); 5] = [
    (Case::Reference, "no job: 10 000 rounds of a loop"),
    (Case::NoCgroup, "job without a cgroup of its own"),
    (Case::Kept, "job in a cgroup that is kept"),
    (Case::Own, "job, cgroup made and removed"),
    (Case::Nested, "job, 3 levels made and removed"),
];

pub(crate) fn ask(own: &OwnCgroup, tries: usize) -> Result<Vec<Answer>> {
    let mut answers = CASES.map(|(_, name)| Answer::new("cost", name));
    for _ in 0..tries {
        for ((case, _), answer) in CASES.iter().zip(&mut answers) {
            answer.samples_ns.push(batch(own, *case)? / BATCH);
            answer.tries += 1;
        }
    }
    Ok(answers.into())
}

/// Nanoseconds of a batch, without what comes before and after it.
fn batch(own: &OwnCgroup, case: Case) -> Result<u64> {
    let path = own.next_path();
    let kept = match case {
        Case::Kept => Some(make(&path)?),
        _ => None,
    };
    let begin = now();
    for _ in 0..BATCH {
        match case {
            Case::Reference => {
                black_box((0..10_000).fold(0_u64, |sum, round| black_box(sum + round)));
            }
            Case::NoCgroup => job(None)?,
            Case::Kept => job(kept.as_ref().map(AsFd::as_fd))?,
            Case::Own => nested(&path, 1)?,
            Case::Nested => nested(&path, LEVELS)?,
        }
    }
    let took = ns_between(begin, now());
    if kept.is_some() {
        remove(&path)?;
    }
    let settled = now() + std::time::Duration::from_nanos(SETTLE_NS);
    while !settled.has_passed() {
        sleep_until(settled).context("sleep")?;
    }
    Ok(took)
}

/// A process that is born and ends at once.
fn job(cgroup: Option<BorrowedFd<'_>>) -> Result<()> {
    let child = worker(0, cgroup, || 0).context("clone3")?;
    reap(&child)?;
    Ok(())
}

/// A job at the bottom of `levels` cgroups.
fn nested(path: &Path, levels: usize) -> Result<()> {
    let dir = make(path)?;
    match levels {
        0 | 1 => job(Some(dir.as_fd()))?,
        _ => nested(&path.join("below"), levels - 1)?,
    }
    drop(dir);
    remove(path)
}

fn make(path: &Path) -> Result<File> {
    fs::create_dir(path).with_context(|| format!("mkdir {}", path.display()))?;
    File::open(path).with_context(|| format!("open {}", path.display()))
}

/// Removes a cgroup. Where a process that was reaped still counts it tries again without a pause:
/// an idle CPU would make the clock jump.
fn remove(path: &Path) -> Result<()> {
    let deadline = now() + PATIENCE;
    loop {
        match fs::remove_dir(path) {
            Err(error)
                if error.raw_os_error() == Some(Errno::EBUSY as i32) && !deadline.has_passed() =>
            {
                std::thread::yield_now();
            }
            done => return done.with_context(|| format!("rmdir {}", path.display())),
        }
    }
}
