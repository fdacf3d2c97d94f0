//! A plain run from the command line to the exit code: resolve, plan, play, sum up. Read top to
//! bottom.

use std::time::Duration;

use anyhow::Context;
use harness::expect::Plane;
use harness::host::Paths;
use harness::host::environment::Environment;
use harness::sys::time;

use super::args::{RunArgs, RunFormat};
use super::conclude::{conclude, print};
use super::exit::{Exit, Failure};
use super::output::{ENVIRONMENT, Output, PLAN, SCRIPT};
use super::plan::{self, Cell, Offers, Plan};
use super::record::{PlanRecord, arguments};
use super::report;
use super::request::{self, Request};
use super::surroundings::Surroundings;
use super::term::note;
use super::trial_loop::{CampaignOptions, Played, TrialLoop};

/// Runs what `args` ask for.
pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let request = request::of_run(args)?;
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
            RunFormat::Table | RunFormat::Ktap | RunFormat::Junit => report::plan_text(&plan),
            RunFormat::Json => document.to_json()?,
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
        pace: &CampaignOptions {
            budget: request.budget,
            ..CampaignOptions::default()
        },
    };
    let began = time::now();
    let played = sitting.play(&mut output)?;
    let notes = match request.budget {
        Some(_) => coverage(&plan, &played, time::now().since(began)),
        None => Vec::new(),
    };
    let emulated = environment.virtualisation.emulated == Some(true);
    conclude(args, &plan, &name, &output, &played, &notes, emulated)
}

/// How many rows a run with a budget has covered, in which time; and by name what it has not.
fn coverage(plan: &Plan, played: &Played, took: Duration) -> Vec<String> {
    let kills = |row: &&Cell| row.key.plane == Plane::Kill;
    let (all, killed) = (plan.cells.len(), plan.cells.iter().filter(kills).count());
    let missed = played.left_out.len();
    let mut notes = vec![format!(
        "{} of {all} rows at least once ({} of detectors, {killed} of strategies), in {} s.",
        all - missed,
        all - killed,
        took.as_secs()
    )];
    if missed > 0 {
        let names = played.left_out.iter().map(|row| {
            let key = &plan.cells[*row].key;
            format!("{} on {}", key.mechanism, key.scenario)
        });
        notes.push(format!(
            "The budget did not allow {missed} rows (--budget, --full): {}.",
            names.collect::<Vec<_>>().join(", ")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use harness::host::Support;

    use super::super::args::Cli;
    use super::super::request;
    use super::*;

    #[test]
    fn what_the_budget_left_out_is_counted_and_named() {
        let cli = Cli::try_parse_from(["scenario", "all"]).unwrap();
        let request = request::of_run(&cli.run).unwrap();
        let offered = |id| (id, Support::Available);
        let offers = Offers {
            detectors: ["cgroup-events-poll", "pidfd-main"].map(offered).into(),
            strategies: ["cgroup-kill"].map(offered).into(),
            features: [].into(),
        };
        let missing = |ids: &mut Vec<&'static str>, known: &dyn Fn(&str) -> bool| {
            ids.retain(|id| known(id));
        };
        let mut request = request;
        missing(&mut request.detectors.ids, &|id| {
            offers.detectors.contains_key(id)
        });
        missing(&mut request.references.ids, &|id| {
            offers.detectors.contains_key(id)
        });
        missing(&mut request.strategies.ids, &|id| {
            offers.strategies.contains_key(id)
        });
        let plan = plan::plan(&request, &offers, 7).unwrap();
        assert_eq!(plan.order.len(), plan.cells.len(), "each row once");
        let costs: Vec<_> = plan.order.iter().map(|p| plan.cells[p.row].cost).collect();
        assert!(costs.is_sorted(), "the cheapest first");
        let last = plan.order.last().unwrap().row;
        let played = Played {
            left_out: vec![last],
            ..Played::default()
        };
        let notes = coverage(&plan, &played, Duration::from_secs(9));
        let all = plan.cells.len();
        assert!(
            notes[0].starts_with(&format!("{} of {all} rows", all - 1)),
            "{notes:?}"
        );
        assert!(
            notes[1].contains(&plan.cells[last].key.scenario),
            "{notes:?}"
        );
        assert_eq!(coverage(&plan, &Played::default(), Duration::ZERO).len(), 1);
    }
}
