//! The end of a run: summary, exit code, and what it means.

use std::io::{self, Write};

use anyhow::Context;
use harness::record::Outcome;

use super::answer::{self, SUMMARY};
use super::args::{RunArgs, RunFormat};
use super::exit::{Exit, Failure};
use super::lines;
use super::output::Output;
use super::outside::{self, Sources};
use super::plan::{self, Plan};
use super::report::{self, Report};
use super::subject::Subject;
use super::suites;
use super::summary::{Row, Tally};
use super::term::note;
use super::trial_loop::Played;
use crate::formats::{junit, ktap};

/// Prints the summary and decides the exit code.
pub(super) fn conclude(
    args: &RunArgs,
    plan: &Plan,
    name: &str,
    output: &Output,
    played: &Played,
    notes: &[String],
    emulated: bool,
) -> Result<Exit, Failure> {
    let cells = plan.cells.iter();
    let mut tallies: Vec<Tally> = cells
        .map(|cell| {
            Tally::new(
                cell.key.clone(),
                plan::expected_in_words(cell.expected),
                args.deadline(),
            )
        })
        .collect();
    let mut sources = Sources::default();
    for (planned, record) in plan.order.iter().zip(output.trials()) {
        let record = record.map_err(Failure::incomplete)?;
        tallies[planned.row].add(&record);
        sources.add(&record);
    }
    let mut rows: Vec<Row> = tallies.into_iter().map(Tally::row).collect();
    together(&mut rows);
    let exit = exit_of(played, &rows);
    let report = Report {
        run: name,
        emulated,
        out: output.dir(),
        seed: plan.seed,
        planned: plan.order.len(),
        rows: &rows,
        ended: match played {
            Played {
                interrupted: true, ..
            } => "Interrupted",
            Played { paused: true, .. } => "Stopped by --for",
            Played {
                over_budget: true, ..
            } => "Stopped by the budget",
            _ => "Stopped",
        },
        skipped: &plan.skipped,
        notes,
        leaks: &played.left,
        exit,
    };
    // Standard output belongs to the trials if --json says so, and only to them.
    let colour = !args.json && lines::colour();
    let programs = plan
        .cells
        .iter()
        .any(|cell| matches!(cell.subject, Subject::Program(_)));
    let text = |colour| match programs {
        true => outside::text(&report, &sources, colour),
        false => report::text(&report, colour),
    };
    if let Err(error) = output.text(SUMMARY, &text(false)) {
        note(format!("error: {error:#}"));
    }
    let summary = match (args.format, args.all) {
        (RunFormat::Ktap, _) => ktap::text(&suites::suites(&report)),
        (RunFormat::Junit, _) => {
            junit::text(name, &suites::suites(&report)).context("could not write JUnit XML")?
        }
        (RunFormat::Json, _) => {
            report::json(&report).context("could not write the summary as JSON")?
        }
        (RunFormat::Table, all) if all || programs => text(colour),
        (RunFormat::Table, _) => {
            let mut page = lines::text(&answer::page(&report), colour);
            if args.stages {
                page.push_str(&report::stages_text(&report));
            }
            page
        }
    };
    if args.json {
        note(summary.trim_end());
    } else {
        print(&summary)?;
    }
    if let Some(error) = &played.stopped {
        note(format!("error: {error:#}"));
    }
    Ok(exit)
}

/// Groups rows of the same scenario (at the same point), in the order in which the scenarios first
/// appear.
fn together(rows: &mut [Row]) {
    let mut met: Vec<String> = Vec::new();
    for row in rows.iter() {
        if !met.contains(&row.key.scenario) {
            met.push(row.key.scenario.clone());
        }
    }
    rows.sort_by_key(|row| {
        met.iter()
            .position(|scenario| *scenario == row.key.scenario)
    });
}

/// A leak is worst, then an incomplete run, because failed expectations of half a run mean little.
/// Then expectations.
fn exit_of(played: &Played, rows: &[Row]) -> Exit {
    let ended = |outcome: Outcome| rows.iter().any(|row| row.count(outcome) > 0);
    if !played.left.is_empty() {
        Exit::Internal
    } else if played.interrupted
        || played.stopped.is_some()
        || played.over_budget
        || ended(Outcome::Interrupted)
    {
        Exit::Incomplete
    } else if played.paused {
        Exit::Paused
    } else if rows
        .iter()
        .flat_map(|row| &row.broken)
        .any(|trial| !matches!(trial.outcome, Outcome::Broken | Outcome::Interrupted))
    {
        Exit::NotHeld
    } else if ended(Outcome::Broken) {
        Exit::Incomplete
    } else {
        Exit::Held
    }
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("could not write to standard output")
        .map_err(Failure::incomplete)
}
