//! One launcher is scored again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use scenarios::formats::table::plain;

use super::args::RepeatArgs;
use super::play::{Scorer, adapters, asked};
use super::{BAD, Failure, GOOD, print};
use crate::adapter::Adapter;
use crate::score::Score;
use crate::score::steady::{Row, Steady, rows};

/// Scores each launcher `times` times, and as often again with busy processors, and prints which
/// verdicts were always the same.
///
/// Random moments differ from round to round: the seed grows by one.
pub(super) fn repeat(args: &RepeatArgs) -> Result<u8, Failure> {
    let adapters = adapters(&args.play)?;
    let asked = asked(&args.play)?;
    let mut scorer = Scorer::new(&args.play, asked)?;
    let seed = scorer.asked.seed;
    let mut good = true;
    for adapter in &adapters {
        scorer.asked.seed = seed;
        let quiet = some(&mut scorer, adapter, args.times)?;
        let mut parts = vec![quiet];
        if args.busy > 0 {
            parts.push(while_busy(args.busy, || {
                some(&mut scorer, adapter, args.times)
            })?);
        }
        let rows = rows(&parts);
        let rounds: usize = parts.iter().map(Vec::len).sum();
        good &= !rows.iter().any(|row| row.is_bad(rounds));
        print(&page(adapter, &parts, &rows, rounds))?;
    }
    Ok(if good { GOOD } else { BAD })
}

fn some(scorer: &mut Scorer, adapter: &Adapter, times: u32) -> Result<Vec<Score>, Failure> {
    let mut all = Vec::new();
    for _ in 0..times {
        let score = scorer.score(adapter);
        if let Some(why) = score.skipped.as_ref().or(score.unusable.as_ref()) {
            let why = anyhow::anyhow!("{} could not be played: {why}", adapter.id);
            return Err(why.into());
        }
        all.push(score);
        scorer.asked.seed = scorer.asked.seed.wrapping_add(1);
    }
    Ok(all)
}

/// Says that it is over, also after a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn while_busy<T>(threads: usize, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..threads {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        work()
    })
}

fn page(adapter: &Adapter, parts: &[Vec<Score>], all: &[Row], rounds: usize) -> String {
    let mut table = plain(&[
        "promise",
        "level",
        "verdicts",
        "kept",
        "while busy",
        "always",
    ]);
    for row in all {
        let counts: Vec<String> = row
            .verdicts
            .iter()
            .map(|(word, times)| format!("{word} {times}"))
            .collect();
        let part = |at: usize| match (row.kept.get(at), row.judged.get(at)) {
            (Some(kept), Some(judged)) if *judged > 0 => format!("{kept} of {judged}"),
            _ => "-".to_owned(),
        };
        table.add_row([
            row.promise.clone(),
            row.level.to_string(),
            counts.join(", "),
            part(0),
            part(1),
            match row.steady(rounds) {
                Steady::Same => "the same",
                Steady::Race => "a race",
                Steady::Unknown => "not known",
                Steady::Missing => "not in every round",
            }
            .to_owned(),
        ]);
    }
    let about = parts.iter().flatten().next();
    let loads: Vec<String> = parts
        .iter()
        .filter_map(|part| Some((part.first()?, part.last()?)))
        .map(|(first, last)| format!("{}, later {}", first.load, last.load))
        .collect();
    format!(
        "{} ({}), scored {rounds} times; load {}\n\n{table}\n\n",
        adapter.id,
        about.map_or("", |score| score.version.as_str()),
        loads.join("; while busy ")
    )
}
