//! A run from the command line to the exit code: resolve, plan, record, sum up. Read top to bottom.

use std::io::{self, Write};

use anyhow::Context;
use harness::host::environment::Environment;
use harness::host::{Base, Host, Paths};
use harness::record::{Outcome, TrialRecord};
use harness::trial::{ACTOR_UID, LeakReport, Run, RunOptions, TrialSpec};

use super::args::{Format, RunArgs};
use super::exit::{Exit, Failure};
use super::output::{self, ENVIRONMENT, Output, PLAN};
use super::plan::{self, Cell, Offers, Plan};
use super::record::PlanRecord;
use super::report::{self, Report};
use super::request::{self, Request};
use super::summary::Row;
use super::surroundings;
use super::term::{Progress, note};

/// Runs what `args` ask for.
pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let request = request::resolve(args)?;
    let mut host = surroundings::look(args.cgroup.clone(), args.no_belt)?;
    let result = with_host(args, &request, &host);
    for leftover in surroundings::undo(&mut host) {
        note(format!("error: {leftover}"));
    }
    result
}

/// Plans, plays and sums up on a machine that has been looked at.
fn with_host(args: &RunArgs, request: &Request, host: &Host) -> Result<Exit, Failure> {
    let base = surroundings::base(host)?;
    let offers = Offers::of(host);
    let plan = plan::plan(request, &offers, u64::from(rand::random::<u32>()))?;
    let name = harness::host::run_name().context("could not name the run")?;
    let document = PlanRecord::new(&name, request, &plan);
    if args.dry_run {
        print(&match args.format {
            Format::Table => report::plan_text(&plan),
            Format::Json => document.to_json()?,
        })?;
        return Ok(Exit::Held);
    }
    // A place that cannot be written to is found before anything is started.
    let mut output = Output::create(args.out.as_deref(), &name).map_err(|error| Failure {
        exit: Exit::Usage,
        error,
    })?;
    output.document(PLAN, &document).map_err(Failure::incomplete)?;
    output
        .document(ENVIRONMENT, &Environment::capture(&Paths::default(), host))
        .map_err(Failure::incomplete)?;
    if !args.quiet {
        note(format!(
            "recording {} trials in {} (seed {})",
            plan.order.len(),
            output.dir().display(),
            plan.seed
        ));
    }
    let played = play(args, request, &plan, &name, base, &mut output)?;
    conclude(args, &plan, &name, &output, &played)
}

/// What came of playing the plan.
#[derive(Debug, Default)]
struct Played {
    /// The records, each with its row.
    trials: Vec<(usize, TrialRecord)>,
    /// A signal asked the run to end.
    interrupted: bool,
    /// Why it stopped before the end of the plan.
    stopped: Option<anyhow::Error>,
    /// What was left behind.
    left: Vec<String>,
}

/// Plays all trials. Whatever stops it, the run's cgroup is emptied and removed, and what was recorded stays.
fn play(
    args: &RunArgs,
    request: &Request,
    plan: &Plan,
    name: &str,
    base: &Base,
    output: &mut Output,
) -> Result<Played, Failure> {
    let options = RunOptions {
        name: name.to_owned(),
        actor_uid: ACTOR_UID,
        no_belt: args.no_belt,
    };
    let mut run = Run::start(base, options).context("could not begin the run")?;
    let progress = Progress::new(plan.order.len(), args.quiet);
    let mut played = Played::default();
    for (seq, (row, seed)) in plan.order.iter().enumerate() {
        if run.interrupted() {
            played.interrupted = true;
            break;
        }
        let cell = &plan.cells[*row];
        progress.begin(format!("{} on {}", cell.key.mechanism, cell.key.scenario));
        let recorded = trial(&mut run, request, cell, seq, *seed).and_then(|record| {
            output.record(&record)?;
            if args.json {
                output::json_line(&mut io::stdout().lock(), &record)?;
            }
            played.trials.push((*row, record));
            Ok(())
        });
        if let Err(error) = recorded {
            played.stopped = Some(error);
            break;
        }
        progress.done();
    }
    played.interrupted |= run.interrupted();
    progress.finish();
    let leaks: LeakReport = run.finish().context("could not clean up after the run")?;
    played.left = leaks.left;
    Ok(played)
}

/// One trial.
fn trial(run: &mut Run<'_>, request: &Request, cell: &Cell, seq: usize, seed: u64) -> anyhow::Result<TrialRecord> {
    let what = || {
        format!(
            "could not run trial {seq} ({} on {})",
            cell.key.mechanism, cell.key.scenario
        )
    };
    let script = cell
        .scenario
        .script(&cell.params, cell.key.plane, seed)
        .with_context(what)?;
    let spec = TrialSpec {
        seq: u32::try_from(seq).context("more trials than a record can number")?,
        scenario: cell.scenario.spec().id,
        workload: crate::workload(&script).with_context(what)?,
        stage: cell.scenario.spec().stage,
        params: cell.params.clone(),
        seed,
        detector: cell.detector,
        strategy: cell.strategy,
        expected: cell.expected,
        deadline: request.deadline,
        limits: request.limits,
        gap: request.gap,
    };
    run.trial(&spec).with_context(what)
}

/// Prints the summary and decides the exit code.
fn conclude(args: &RunArgs, plan: &Plan, name: &str, output: &Output, played: &Played) -> Result<Exit, Failure> {
    let rows: Vec<Row> = plan
        .cells
        .iter()
        .enumerate()
        .map(|(index, cell)| {
            let trials: Vec<&TrialRecord> = played
                .trials
                .iter()
                .filter(|(row, _)| *row == index)
                .map(|(_, record)| record)
                .collect();
            Row::new(cell.key.clone(), plan::expected_in_words(cell.expected), &trials)
        })
        .collect();
    let exit = exit_of(played);
    let report = Report {
        run: name,
        out: output.dir(),
        seed: plan.seed,
        planned: plan.order.len(),
        rows: &rows,
        skipped: &plan.skipped,
        leaks: &played.left,
        exit,
    };
    let summary = match args.format {
        Format::Table => report::text(&report),
        Format::Json => report::json(&report).context("could not write the summary as JSON")?,
    };
    // Standard output belongs to the trials then, and only to them.
    if args.json {
        note(summary.trim_end());
    } else {
        print(&summary)?;
    }
    if let Some(error) = &played.stopped {
        note(format!("error: {error:#}"));
    }
    if played.interrupted {
        note(format!(
            "interrupted after {} of {} trials; what was recorded is kept in {}",
            output.recorded(),
            plan.order.len(),
            output.dir().display()
        ));
    }
    Ok(exit)
}

/// A leak is worst, then a run that is not complete: broken expectations of half a run say little. Then expectations.
fn exit_of(played: &Played) -> Exit {
    let ended = |outcome: Outcome| played.trials.iter().any(|(_, record)| record.outcome == outcome);
    if !played.left.is_empty() {
        Exit::Internal
    } else if played.interrupted || played.stopped.is_some() || ended(Outcome::Interrupted) {
        Exit::Incomplete
    } else if played
        .trials
        .iter()
        .any(|(_, record)| !record.held && record.outcome != Outcome::Broken)
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
