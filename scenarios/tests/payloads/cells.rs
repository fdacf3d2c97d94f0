//! A cell: one payload in one place, as a test. It may be another shard's, it may stand in the
//! record, and it may come too late.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allgone::MonoNs;
use allgone::sys::time::now;
use libtest_mimic::{Completion, Failed, Trial};

use super::totals::{self, Cell, Tally};

/// What became of a cell.
pub(crate) enum Played {
    /// It could not be played, with the reason.
    Not(String),
    /// It was; what was not as expected.
    With(Vec<String>),
}

static PLAYED: AtomicU32 = AtomicU32::new(0);
static RECORDED: AtomicU32 = AtomicU32::new(0);
static ELSEWHERE: AtomicU32 = AtomicU32::new(0);
static TOO_LATE: AtomicU32 = AtomicU32::new(0);

/// A test that plays it. `at`: its place among all.
pub(crate) fn cell(
    at: usize,
    name: String,
    play: impl FnOnce(&mut Tally) -> Result<Played, String> + Send + 'static,
) -> Trial {
    let cell = name.clone();
    Trial::ignorable_test(name, move || test(at, cell, play))
}

fn test(
    at: usize,
    cell: String,
    play: impl FnOnce(&mut Tally) -> Result<Played, String>,
) -> Result<Completion, Failed> {
    let count = |number: &AtomicU32| number.fetch_add(1, Ordering::Relaxed);
    if !is_of_shard(at) {
        count(&ELSEWHERE);
        return Ok(Completion::ignored_with("of another shard"));
    }
    let wrong = if let Some(found) = totals::recorded(&cell)? {
        count(&RECORDED);
        found.wrong
    } else {
        if until().is_some_and(MonoNs::has_passed) {
            count(&TOO_LATE);
            return Ok(Completion::ignored_with(
                "not begun: LAUNCHER_SECONDS are over",
            ));
        }
        let mut counts = Tally::new();
        let wrong = match play(&mut counts)? {
            Played::Not(why) => return Ok(Completion::ignored_with(why)),
            Played::With(wrong) => wrong,
        };
        count(&PLAYED);
        totals::note(Cell {
            cell,
            counts,
            wrong: wrong.clone(),
        })?;
        wrong
    };
    if wrong.is_empty() {
        Ok(Completion::Completed)
    } else {
        Err(wrong.join("\n").into())
    }
}

/// How many there were of each.
pub(crate) fn printed() -> String {
    let of = |count: &AtomicU32| count.load(Ordering::Relaxed);
    format!(
        "cells: {} played, {} from the record, {} of another shard, {} not begun in time\n",
        of(&PLAYED),
        of(&RECORDED),
        of(&ELSEWHERE),
        of(&TOO_LATE),
    )
}

/// Whether it is of the part that `LAUNCHER_SHARD=K/N` asks for: the K-th of N.
fn is_of_shard(at: usize) -> bool {
    let Ok(shard) = std::env::var("LAUNCHER_SHARD") else {
        return true;
    };
    let numbers = shard.split_once('/').and_then(|(part, parts)| {
        let (part, parts): (usize, usize) = (part.parse().ok()?, parts.parse().ok()?);
        (1..=parts).contains(&part).then_some((part, parts))
    });
    let (part, parts) = numbers.expect("LAUNCHER_SHARD is K/N, with K from 1 to N");
    at % parts == part - 1
}

/// The clock of `LAUNCHER_SECONDS` begins.
pub(crate) fn begin() {
    until();
}

/// When no cell is begun any more, if `LAUNCHER_SECONDS` says so.
fn until() -> Option<MonoNs> {
    static UNTIL: OnceLock<Option<MonoNs>> = OnceLock::new();
    *UNTIL.get_or_init(|| {
        let seconds = std::env::var("LAUNCHER_SECONDS").ok()?;
        let seconds = seconds.parse().expect("LAUNCHER_SECONDS is a number");
        Some(now() + Duration::from_secs(seconds))
    })
}
