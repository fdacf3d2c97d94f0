//! A plain run from the command line to the exit code: resolve, plan, play, sum up. Read top to
//! bottom.

use anyhow::Context;
use harness::host::Paths;
use harness::host::environment::Environment;

use super::args::{Format, RunArgs};
use super::conclude::{conclude, print};
use super::exit::{Exit, Failure};
use super::output::{ENVIRONMENT, Output, PLAN, SCRIPT};
use super::plan::{self, Offers};
use super::record::{PlanRecord, arguments};
use super::report;
use super::request::{self, Request};
use super::surroundings::Surroundings;
use super::term::note;
use super::trial_loop::{CampaignOptions, TrialLoop};

/// Runs what `args` ask for.
pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let request = request::resolve(args)?;
    play(args, &request)
}

/// Runs what was resolved.
pub(super) fn play(args: &RunArgs, request: &Request) -> Result<Exit, Failure> {
    let around = Surroundings::look(args.cgroup.clone(), args.no_limits)?;
    let result = with_host(args, request, &around);
    around.leave_with(result)
}

/// Plans, plays and sums up on a machine that has been probed.
fn with_host(args: &RunArgs, request: &Request, around: &Surroundings) -> Result<Exit, Failure> {
    let (host, base) = (&around.here.host, around.base()?);
    let offers = Offers::of(host);
    let plan = plan::plan(request, &offers, u64::from(rand::random::<u32>()))?;
    let name = harness::host::run_name().context("could not name the run")?;
    let document = PlanRecord::new(&name, arguments(), request, &plan, None);
    if args.dry_run {
        print(&match args.format {
            Format::Table => report::plan_text(&plan),
            Format::Json => document.to_json()?,
        })?;
        return Ok(Exit::Held);
    }
    // An output directory that cannot be written to is found before anything is started.
    let mut output = Output::create(args.out.as_deref(), &name).map_err(Failure::bad_place)?;
    output
        .document(PLAN, &document)
        .map_err(Failure::incomplete)?;
    if let Some(script) = &request.script {
        output
            .text(SCRIPT, &script.to_string())
            .map_err(Failure::incomplete)?;
    }
    let environment = Environment::capture(&Paths::default(), host, &around.here.changes());
    output
        .document(ENVIRONMENT, &environment)
        .map_err(Failure::incomplete)?;
    if !args.quiet {
        note(format!(
            "recording {} trials in {} (seed {})",
            plan.order.len(),
            output.dir().display(),
            plan.seed
        ));
    }
    let sitting = TrialLoop {
        args,
        request,
        plan: &plan,
        name: &name,
        base,
        protection: &around.protection,
        pace: &CampaignOptions::default(),
    };
    let played = sitting.play(&mut output)?;
    let emulated = environment.virtualisation.emulated == Some(true);
    conclude(args, &plan, &name, &output, &played, &[], emulated)
}
