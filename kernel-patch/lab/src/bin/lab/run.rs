//! `lab boot` and `lab run`.

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lab::cache::Cache;
use lab::image::Programs;
use lab::kernel::Kernel;
use lab::protocol::{Ended, Message, Step};

use crate::machine::Options;
use crate::say;

/// The status of `lab` if the lab itself failed, and not its command, as for `timeout(1)` and
/// `env(1)`.
pub(crate) const STATUS_LAB_FAILED: u8 = 125;
/// The status when a command was killed at its limit.
const STATUS_LIMIT: u8 = 124;

#[derive(Debug, clap::Args)]
pub(crate) struct BootArgs {
    /// A kernel of `lab kernels`, a part of its name that fits only one, `newest` for the newest
    /// stock one, or the path of an image
    #[arg(long, short, default_value = "newest")]
    kernel: String,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// A kernel of `lab kernels`, a part of its name that fits only one, `newest` for the newest
    /// stock one, or the path of an image
    #[arg(long, short, default_value = "newest")]
    kernel: String,
    /// The directory of the machine in which it runs; made if it is not there
    #[arg(long, default_value = "/", value_name = "DIR")]
    dir: String,
    #[command(flatten)]
    options: Options,
    /// The command: a program of the project (lab-probe, scenario), or one that --with put there
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn boot(cache: &Cache, args: &BootArgs) -> Result<ExitCode> {
    let programs = Programs::build(&[])?;
    let kernel = Kernel::find(cache, &args.kernel)?;
    let (boot, accelerator) =
        args.options
            .boot(cache, &programs, &kernel, Vec::new(), false, |_| Ok(()))?;
    say!("{}: {} {}", kernel.name, boot.release, boot.version);
    say!("  cgroups  {}", boot.controllers);
    if !boot.checkers.is_empty() {
        say!("  checkers {}", boot.checkers);
    }
    say!(
        "  boot     {:.2} s to init, {:.2} s in all, {}",
        boot.boot.as_secs_f64(),
        boot.total.as_secs_f64(),
        accelerator.label()
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run(cache: &Cache, args: &RunArgs) -> Result<ExitCode> {
    let program = args.command.first().context("no command")?;
    let programs = Programs::build(&[program])?;
    let kernel = Kernel::find(cache, &args.kernel)?;
    if args.options.with.is_empty() && !program.contains('/') {
        programs.tool(program)?;
    }
    let step = Step {
        argv: args.command.clone(),
        dir: args.dir.clone(),
        limit_s: args.options.limit,
    };
    let (boot, _) = args
        .options
        .boot(cache, &programs, &kernel, vec![step], true, pass_on)?;
    let [(ended, left)] = boot.steps[..] else {
        bail!("one step was asked for, {} were reported", boot.steps.len())
    };
    if !boot.checkers.is_empty() {
        tell!("lab: at the end {}", boot.checkers);
    }
    if left > 0 {
        tell!("lab: the command left {left} processes, which were killed");
    }
    Ok(match ended {
        Ended::Exit(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        Ended::Signal(signal) => {
            tell!("lab: the command was ended by signal {signal}");
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
        Ended::TimedOut => {
            tell!(
                "lab: the command was still running after {} s and was killed; --limit gives it \
                    longer",
                args.options.limit
            );
            ExitCode::from(STATUS_LIMIT)
        }
        Ended::NotStarted(errno) => {
            bail!("the command could not be started in the machine: errno {errno}")
        }
    })
}

/// Prints a command's output where it belongs.
pub(crate) fn pass_on(message: &Message) -> io::Result<()> {
    match message {
        Message::Out(line) => say::out(line),
        Message::Err(line) => say::err(line),
        _ => Ok(()),
    }
}
