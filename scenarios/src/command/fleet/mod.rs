//! `scenario scale`: one loop that watches many sites, by mechanism and number of sites. Read top
//! to bottom.

mod args;
mod summary;

use std::io;
use std::rc::Rc;

use anyhow::{Context, anyhow};
use harness::fleet::{FleetSpec, MECHANISMS, Mechanism, measure};
use harness::host::environment::Environment;
use harness::host::{Host, Paths, Support};
use harness::record::{Outcome, ScaleRecord};
use harness::trial::{Run, RunOptions};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::args::Format;
use super::conclude::print;
use super::exit::{Exit, Failure};
use super::output::{self, ENVIRONMENT, Output, PLAN, SCALE};
use super::record::arguments;
use super::select::{Names, Selection};
use super::surroundings::Surroundings;
use super::term::{Progress, note};

pub(super) use args::ScaleArgs;

/// Version of `plan.json` and of the summary.
const SCHEMA: u32 = 1;

/// One loop of the plan.
#[derive(Clone, Copy, Debug, Serialize)]
struct Planned {
    mechanism: &'static str,
    sites: u32,
}

/// `plan.json`.
#[derive(Debug, Serialize)]
struct PlanDocument<'a> {
    schema: u32,
    run: &'a str,
    program: &'static str,
    version: &'static str,
    arguments: Vec<String>,
    seed: u64,
    jobs: u32,
    loops: &'a [Planned],
    skipped: &'a [Skipped],
}

/// A mechanism that this machine does not offer.
#[derive(Debug, Serialize)]
struct Skipped {
    mechanism: &'static str,
    why: String,
    remedy: String,
}

/// The summary for programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: u32,
    run: &'a str,
    out: &'a std::path::Path,
    exit: u8,
    rows: &'a [summary::Cell],
    growth: &'a [summary::Growth],
    skipped: &'a [Skipped],
    leaks: &'a [String],
}

/// Measures what `args` ask for.
pub(super) fn scale(args: &ScaleArgs) -> Result<Exit, Failure> {
    let known: Vec<&'static str> = MECHANISMS.iter().map(|m| m.spec().id).collect();
    let chosen = Names::new("mechanism", &known)
        .select(&args.mechanisms, &[])
        .map_err(Failure::usage)?;
    let around = Surroundings::look(args.cgroup.clone(), false)?;
    let result = with_host(args, &chosen, &around);
    around.leave_with(result)
}

fn with_host(args: &ScaleArgs, chosen: &Selection, around: &Surroundings) -> Result<Exit, Failure> {
    // Missing mechanisms are found before anything is planned.
    around.base()?;
    let host = &around.here.host;
    let (mechanisms, skipped) = offered(chosen, host)?;
    let seed = args
        .seed
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let loops = plan(args, mechanisms, seed);
    let name = harness::host::run_name().context("could not name the run")?;
    let mut output =
        Output::create_with(args.out.as_deref(), &name, SCALE).map_err(Failure::bad_place)?;
    let document = PlanDocument {
        schema: SCHEMA,
        run: &name,
        program: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        arguments: arguments(),
        seed,
        jobs: args.jobs,
        loops: &loops,
        skipped: &skipped,
    };
    output
        .document(PLAN, &document)
        .map_err(Failure::incomplete)?;
    output
        .document(
            ENVIRONMENT,
            &Environment::capture(&Paths::default(), host, &around.here.changes()),
        )
        .map_err(Failure::incomplete)?;
    if !args.quiet {
        let dir = output.dir().display();
        note(format!(
            "recording {} loops in {dir} (seed {seed})",
            loops.len()
        ));
    }
    let played = play(args, around, &name, &loops, seed, &mut output)?;
    conclude(args, &name, &output, &skipped, &played)
}

/// Those of the chosen that this machine offers, and why it does not offer the others.
fn offered(chosen: &Selection, host: &Host) -> Result<(Vec<&'static str>, Vec<Skipped>), Failure> {
    let (mut there, mut skipped) = (Vec::new(), Vec::new());
    for mechanism in chosen.ids.iter().filter_map(|id| harness::fleet::by_id(id)) {
        let id = mechanism.spec().id;
        let (why, remedy) = match mechanism.probe(host) {
            Ok(Support::Available) => {
                there.push(id);
                continue;
            }
            Ok(Support::Missing { why, remedy }) => (why, remedy),
            Err(e) => (format!("not known, the probe failed: {e}"), String::new()),
        };
        if chosen.by_name.contains(id) {
            return Err(Failure::missing(anyhow!(
                "{id} is not available here: {why}; {remedy}"
            )));
        }
        skipped.push(Skipped {
            mechanism: id,
            why,
            remedy,
        });
    }
    Ok((there, skipped))
}

/// All loops: few sites first, the mechanisms in an order that is drawn for each number of sites.
fn plan(args: &ScaleArgs, mut mechanisms: Vec<&'static str>, seed: u64) -> Vec<Planned> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut sizes = args.sites.clone();
    sizes.sort_unstable();
    sizes.dedup();
    let mut loops = Vec::new();
    for sites in sizes {
        mechanisms.shuffle(&mut random);
        loops.extend(
            mechanisms
                .iter()
                .map(|mechanism| Planned { mechanism, sites }),
        );
    }
    loops
}

/// The result of the loops.
#[derive(Debug, Default)]
struct Played {
    records: Vec<ScaleRecord>,
    loops: usize,
    interrupted: bool,
    stopped: Option<anyhow::Error>,
    left: Vec<String>,
}

/// Measures loop after loop. Whatever stops it, the run's cgroup is emptied and removed, and what
/// was recorded stays.
fn play(
    args: &ScaleArgs,
    around: &Surroundings,
    name: &str,
    loops: &[Planned],
    seed: u64,
    output: &mut Output,
) -> Result<Played, Failure> {
    let options = RunOptions {
        name: name.to_owned(),
        no_limits: false,
    };
    let mut run = Run::start(Rc::clone(&around.protection), around.base()?, options)
        .context("could not begin the run")?;
    let progress = Progress::new(loops.len(), 0, args.quiet);
    let mut played = Played::default();
    for (seq, planned) in loops.iter().enumerate() {
        if run.interrupted() {
            break;
        }
        progress.begin(&format!(
            "{} with {} sites",
            planned.mechanism, planned.sites
        ));
        let one = measured(args, &mut run, seq, *planned, seed).and_then(|records| {
            for record in records {
                output.line(
                    u32::try_from(played.records.len()).unwrap_or(u32::MAX),
                    &record,
                )?;
                if args.json {
                    output::json_line(&mut io::stdout().lock(), &record)?;
                }
                played.records.push(record);
            }
            Ok(())
        });
        if let Err(error) = one {
            played.stopped = Some(error);
            break;
        }
        played.loops += 1;
        progress.done();
    }
    played.interrupted = run.interrupted();
    if let Err(error) = run.check() {
        played.stopped = Some(error.into());
    }
    progress.finish();
    played.left = run
        .finish()
        .context("could not clean up after the run")?
        .left;
    Ok(played)
}

fn measured(
    args: &ScaleArgs,
    run: &mut Run<'_>,
    seq: usize,
    planned: Planned,
    seed: u64,
) -> anyhow::Result<Vec<ScaleRecord>> {
    let mechanism: &dyn Mechanism =
        harness::fleet::by_id(planned.mechanism).context("the plan names a mechanism")?;
    let populated = args.populated.unwrap_or(planned.sites).min(planned.sites);
    let spec = FleetSpec {
        seq: u32::try_from(seq).context("more loops than can be numbered")?,
        mechanism,
        sites: usize::try_from(planned.sites).context("more sites than can be numbered")?,
        populated: usize::try_from(populated).context("more sites than can be numbered")?,
        jobs: args.jobs,
        rest: args.rest,
        deadline: args.deadline,
        seed,
    };
    let what = || {
        format!(
            "could not measure {} with {} sites",
            planned.mechanism, planned.sites
        )
    };
    measure(run, &spec).with_context(what)
}

/// Prints the summary and decides the exit code: a leak is worst, then a run that is not complete,
/// then a wrong verdict.
fn conclude(
    args: &ScaleArgs,
    name: &str,
    output: &Output,
    skipped: &[Skipped],
    played: &Played,
) -> Result<Exit, Failure> {
    let ended = |outcomes: &[Outcome]| played.records.iter().any(|r| outcomes.contains(&r.outcome));
    let exit = if !played.left.is_empty() {
        Exit::Internal
    } else if played.interrupted || played.stopped.is_some() {
        Exit::Incomplete
    } else if ended(&[Outcome::Early, Outcome::Missed, Outcome::Unknown]) {
        Exit::NotHeld
    } else if ended(&[Outcome::Broken, Outcome::Interrupted]) {
        Exit::Incomplete
    } else {
        Exit::Held
    };
    let rows = summary::cells(&played.records);
    let growth = summary::growth(&rows);
    let text = match args.format {
        Format::Table => text(&rows, &growth, skipped, played),
        Format::Json => {
            let document = Document {
                schema: SCHEMA,
                run: name,
                out: output.dir(),
                exit: exit.code(),
                rows: &rows,
                growth: &growth,
                skipped,
                leaks: &played.left,
            };
            serde_json::to_string_pretty(&document)
                .context("could not write the summary as JSON")?
                + "\n"
        }
    };
    // Standard output belongs to the records then, and only to them.
    match args.json {
        true => note(text.trim_end()),
        false => print(&text)?,
    }
    if let Some(error) = &played.stopped {
        note(format!("error: {error:#}"));
    }
    Ok(exit)
}

fn text(
    rows: &[summary::Cell],
    growth: &[summary::Growth],
    skipped: &[Skipped],
    played: &Played,
) -> String {
    let mut text = summary::text(rows, growth);
    for Skipped {
        mechanism,
        why,
        remedy,
    } in skipped
    {
        text.push_str(&format!(
            "{mechanism} is not available here: {why}; {remedy}\n"
        ));
    }
    if played.interrupted {
        text.push_str(&format!("Interrupted after {} loops.\n", played.loops));
    }
    let right = played
        .records
        .iter()
        .filter(|r| r.outcome == Outcome::Right)
        .count();
    let ended = played
        .records
        .iter()
        .filter(|r| r.asked_ns.is_some())
        .count();
    text.push_str(&format!("{right} of {ended} completions were right.\n"));
    match played.left.as_slice() {
        [] => text.push_str("Nothing was left behind.\n"),
        left => text.push_str(&format!("Left behind: {}\n", left.join("; "))),
    }
    text
}
