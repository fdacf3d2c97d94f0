//! The command `scenario`: from arguments to a plan, from records to a table and a verdict in plain
//! words.
//!
//! It does not run trials (see `harness::trial`) and does not judge them (the outcome is in the
//! record). It has one thread and starts none, because observers are forked without exec.

mod answer;
mod args;
mod clean;
mod conclude;
mod costs;
mod doctor;
mod exec;
mod exit;
mod feasible;
mod fleet;
mod gap;
mod glossary;
mod lines;
mod list;
mod measure;
mod output;
mod outside;
mod plan;
mod program;
mod recommend;
mod record;
mod report;
mod request;
mod run;
mod scale;
mod script_file;
mod select;
mod show;
mod skip;
pub mod soundness;
mod stages;
mod stats;
mod subject;
mod suites;
mod summary;
mod surroundings;
mod table;
mod term;
mod trial_loop;
mod values;
mod verdict;
mod vm;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Verb};
use exit::{Exit, Failure};
use term::note;

/// The command: everything except turning into an actor, which `main` has to do first.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are errors to clap, but not to us.
        Err(message) => {
            if let Some(typo) = message.use_stderr().then(args::misspelt).flatten() {
                note(format!("error: {typo}"));
                return Exit::Usage.into();
            }
            let exit = if message.use_stderr() {
                Exit::Usage
            } else {
                Exit::Held
            };
            return match message.print() {
                Ok(()) => exit.into(),
                Err(_) => Exit::Incomplete.into(),
            };
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            note(format!("error: {:#}", failure.error));
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let asked = match &cli.verb {
        None => Some(&cli.run),
        Some(Verb::Run(args)) => Some(&**args),
        Some(Verb::Measure(args)) => Some(&args.run),
        Some(Verb::Exec(args)) => Some(&args.run),
        Some(_) => None,
    };
    log_to_stderr(asked.map_or("warn", |args| &args.log))?;
    if let Some((args, kernel)) = asked.and_then(|args| Some((args, args.vm.as_deref()?))) {
        return Err(vm::become_lab(args, kernel));
    }
    match cli.verb {
        None => run::run(&cli.run),
        Some(Verb::Run(args)) => run::run(&args),
        Some(Verb::Measure(args)) => measure::measure(&args),
        Some(Verb::Exec(args)) => exec::exec(&args),
        Some(Verb::Scale(args)) => fleet::scale(&args),
        Some(Verb::List(args)) => list::list(&args),
        Some(Verb::Show(args)) => show::show(&args),
        Some(Verb::Doctor(args)) => doctor::doctor(&args),
        Some(Verb::Recommend(args)) => recommend::recommend(&args),
        Some(Verb::Clean(args)) => clean::clean(&args),
    }
}

fn log_to_stderr(level: &str) -> Result<(), Failure> {
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|e| Failure::usage(format!("--log {level:?}: {e}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .without_time()
        .try_init()
        .map_err(|e| anyhow::anyhow!("could not set up logging: {e}").into())
}
