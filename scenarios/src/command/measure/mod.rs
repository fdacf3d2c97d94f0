//! `scenario measure`: a run as a campaign. Read top to bottom; what one sitting does is in
//! `sitting`.

mod args;
pub(super) mod noise;
mod pins;
mod resume;
mod schedule;
mod shards;
mod sittings;
mod stages;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Parser;
use harness::host::Paths;
use harness::host::environment::Environment;
use harness::record::Stamps;
use harness::trial::Conditions;
use serde_json::Value;

use super::args::{Cli, RunFormat, Verb};
use super::conclude::{conclude, print};
use super::exit::{Exit, Failure};
use super::gap::Gap;
use super::output::{ENVIRONMENT, Output, PLAN};
use super::plan::{self, Offers, Plan};
use super::record::{Campaign, PlanRecord, arguments};
use super::request::{self, Request};
use super::select::Names;
use super::surroundings::Surroundings;
use super::term::note;
use super::trial_loop::{CampaignOptions, TrialLoop};
use super::{report, stats};

pub(super) use args::MeasureArgs;
pub(super) use schedule::Schedule;
pub(super) use shards::Shards;
use sittings::{SITTINGS, Sittings};

/// Begins a campaign, or goes on with one.
pub(super) fn measure(given: &MeasureArgs) -> Result<Exit, Failure> {
    if given.run.budget.is_some() || given.run.full {
        return Err(Failure::usage(
            "--budget and --full belong to a plain run; a campaign is stopped with --for",
        ));
    }
    let begun = match &given.resume {
        Some(dir) => Some(Begun::read(dir).map_err(Failure::bad_place)?),
        None => None,
    };
    let args = match &begun {
        Some(begun) => begun.asked(given).map_err(Failure::bad_place)?,
        None if given.run.scenarios.is_empty() => {
            return Err(Failure::usage("a SCENARIO is needed, or --resume DIR"));
        }
        None if given.across_boots => {
            return Err(Failure::usage(
                "--across-boots needs --resume: a campaign that begins has one boot",
            ));
        }
        None => given.clone(),
    };
    if args.shard.is_some() && args.run.seed.is_none() {
        return Err(Failure::usage(
            "--shard needs --seed, the same for all shards: it decides which trials there are",
        ));
    }
    let request = resolve(&args)?;
    let around = Surroundings::look(args.run.cgroup.clone(), args.run.no_limits)?;
    let result = with_host(&args, &request, &around, begun.as_ref());
    around.leave_with(result)
}

/// A campaign that was begun: its plan, as it was recorded.
#[derive(Debug)]
struct Begun {
    plan: Value,
}

impl Begun {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(PLAN);
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "{} is no campaign: could not read {}",
                dir.display(),
                path.display()
            )
        })?;
        let plan: Value = serde_json::from_slice(&text)
            .with_context(|| format!("could not understand {}", path.display()))?;
        match plan["campaign"].is_object() {
            true => Ok(Self { plan }),
            false => Err(anyhow!(
                "{} was recorded by a plain run, which cannot be gone on with; `scenario measure` \
                    makes campaigns that can",
                dir.display()
            )),
        }
    }

    /// The command line that began it, with the options that may differ each time.
    fn asked(&self, given: &MeasureArgs) -> anyhow::Result<MeasureArgs> {
        let words: Vec<String> = serde_json::from_value(self.plan["arguments"].clone())
            .context("plan.json does not say with which arguments it was made")?;
        let cli = Cli::try_parse_from(std::iter::once("scenario".to_owned()).chain(words))
            .context("the arguments in plan.json are not understood by this version")?;
        let Some(Verb::Measure(mut args)) = cli.verb else {
            return Err(anyhow!(
                "the arguments in plan.json are not those of a campaign"
            ));
        };
        args.run.out.clone_from(&given.resume);
        args.run.json = given.run.json;
        args.run.format = given.run.format;
        args.run.all = given.run.all;
        args.run.stages = given.run.stages;
        args.run.quiet = given.run.quiet;
        args.stop_after = given.stop_after;
        args.across_boots = given.across_boots;
        Ok(*args)
    }

    fn seed(&self) -> Option<u64> {
        self.plan["seed"].as_u64()
    }

    fn arguments(&self) -> Vec<String> {
        serde_json::from_value(self.plan["arguments"].clone()).unwrap_or_default()
    }
}

/// The arguments of a plain run, and those that only a campaign has.
fn resolve(args: &MeasureArgs) -> Result<Request, Failure> {
    let mut request = request::resolve(&args.run)?;
    request.gap = match args.every {
        Some(_) => Gap::NONE,
        None => args.run.gap.unwrap_or(Gap::CAMPAIGN),
    };
    if !args.twins.is_empty() {
        let taking_part: Vec<&'static str> = request
            .detectors
            .ids
            .iter()
            .chain(&request.strategies.ids)
            .copied()
            .collect();
        request.twins = Names::new("detector or strategy", &taking_part)
            .select(&args.twins, &[])
            .map_err(|e| Failure::usage(format!("--twins: {e} (of those that take part)")))?
            .ids;
    }
    Ok(request)
}

fn with_host(
    args: &MeasureArgs,
    request: &Request,
    around: &Surroundings,
    begun: Option<&Begun>,
) -> Result<Exit, Failure> {
    let (host, base) = (&around.here.host, around.base()?);
    let drawn = begun
        .and_then(Begun::seed)
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let plan = plan::plan(request, &Offers::of(host), drawn)?;
    let name = harness::host::run_name().context("could not name the run")?;
    let words = begun.map_or_else(arguments, Begun::arguments);
    let document = PlanRecord::new(&name, words, request, &plan, Some(campaign(args)));
    // The document has the whole plan, so that the shards of a campaign can be put together.
    let plan = plan.part(args.shard.as_ref());
    if args.run.dry_run {
        print(&match args.run.format {
            RunFormat::Table | RunFormat::Ktap | RunFormat::Junit => report::plan_text(&plan),
            RunFormat::Json => document.to_json()?,
        })?;
        return Ok(Exit::Held);
    }
    if args.trace {
        stages::may_be_traced(host)?;
    }
    args.pin
        .unwrap_or_default()
        .begin()
        .map_err(Failure::usage)?;
    let environment = Environment::capture(&Paths::default(), host, &around.here.changes());
    let emulated = environment.virtualisation.emulated == Some(true);
    let mut output = match begun {
        None => {
            let output =
                Output::create(args.run.out.as_deref(), &name).map_err(Failure::bad_place)?;
            output
                .document(PLAN, &document)
                .map_err(Failure::incomplete)?;
            output
                .document(ENVIRONMENT, &environment)
                .map_err(Failure::incomplete)?;
            output
        }
        Some(begun) => go_on(begun, &document, &plan, args).map_err(Failure::bad_place)?,
    };
    let mut all = Sittings::read(output.dir()).map_err(Failure::bad_place)?;
    let sitting = sittings::Sitting {
        run: name.clone(),
        from: output.recorded(),
        arguments: arguments(),
        boot_id: sittings::boot_id(),
        environment,
    };
    all.add(sitting, args.across_boots)
        .map_err(Failure::bad_place)?;
    output
        .document(SITTINGS, &all)
        .map_err(Failure::incomplete)?;
    if !args.run.quiet {
        note(format!(
            "recording {} trials in {} (seed {}, {} recorded before)",
            plan.order.len(),
            output.dir().display(),
            plan.seed,
            output.recorded()
        ));
    }
    let pace = pace(args, plan.seed);
    let sitting = TrialLoop {
        args: &args.run,
        request,
        plan: &plan,
        name: &name,
        base,
        protection: &around.protection,
        pace: &pace,
    };
    let played = sitting.play(&mut output)?;
    let noise = output.noises().map_err(Failure::incomplete)?;
    let mut notes: Vec<String> = noise::in_words(&noise).into_iter().collect();
    notes.extend(lateness(&output).map_err(Failure::incomplete)?);
    notes.extend(stages::in_words(&output).map_err(Failure::incomplete)?);
    let exit = conclude(&args.run, &plan, &name, &output, &played, &notes, emulated)?;
    if !args.run.quiet && output.recorded() < plan.order.len() {
        note(format!(
            "{} of {} trials are recorded; go on with: scenario measure --resume {}",
            output.recorded(),
            plan.order.len(),
            output.dir().display()
        ));
    }
    Ok(exit)
}

/// Opens a campaign that was begun, if it may be resumed here.
fn go_on(
    begun: &Begun,
    document: &PlanRecord<'_>,
    plan: &Plan,
    args: &MeasureArgs,
) -> anyhow::Result<Output> {
    let here: Value = serde_json::to_value(document).context("could not write the plan as JSON")?;
    resume::same_plan(&begun.plan, &here)?;
    let dir = args
        .run
        .out
        .as_deref()
        .context("a campaign that goes on has a directory")?;
    let mut output = Output::reopen(dir)?;
    let kept = resume::keep(output.reader(), plan)
        .with_context(|| format!("{} cannot be gone on with", dir.display()))?;
    output.keep(kept.bytes, kept.trials)?;
    if let Some(cut) = kept.cut {
        note(format!("cut off {cut}"));
    }
    Ok(output)
}

/// For the plan.
fn campaign(args: &MeasureArgs) -> Campaign {
    let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    Campaign {
        warm_up: args.warm_up,
        noise_ns: ns(args.noise),
        arrivals: args.every.map_or("closed", schedule::Arrivals::name),
        every_ns: args.every.map(|arrivals| ns(arrivals.every())),
        pins: args.pin.unwrap_or_default().record(),
        shards: args.shard.clone(),
        trace: args.trace,
    }
}

fn pace(args: &MeasureArgs, seed: u64) -> CampaignOptions {
    let pins = args.pin.unwrap_or_default();
    CampaignOptions {
        budget: None,
        warm_up: args.warm_up,
        noise: args.noise,
        patience: args.patience,
        schedule: args.every.map(|arrivals| Schedule { arrivals, seed }),
        conditions: Conditions {
            observer_cpu: pins.observer,
            workload_cpu: pins.workload,
            trace: args.trace,
            ..Conditions::default()
        },
        stop_after: args.stop_after,
        resumable: true,
    }
}

/// How late an open loop started its trials, in a line: the wait that is part of their latency.
fn lateness(output: &Output) -> anyhow::Result<Option<String>> {
    let mut late = Vec::new();
    for trial in output.trials() {
        if let Stamps {
            spawn_ns: Some(begun),
            intended_ns: Some(meant),
            ..
        } = trial?.stamps
        {
            late.push(begun.saturating_sub(meant));
        }
    }
    let late = stats::Sample::new(late, 0);
    let at = |percent| late.percentile(percent).value().map(stats::ns);
    let words = |(p50, p90, max)| {
        format!(
            "Open loop: trials started later than intended by {p50} (p50), {p90} (p90), {max} \
                (max)."
        )
    };
    Ok(at(50)
        .zip(at(90))
        .zip(at(100))
        .map(|((p50, p90), max)| words((p50, p90, max))))
}
