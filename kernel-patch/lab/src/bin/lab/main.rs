//! The command `lab`: see the crate's documentation and `kernel-patch/README.md`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks to its user"
)]

#[macro_use]
mod say;

mod ask;
mod build;
mod compare;
mod cost;
mod doctor;
mod each;
mod fetch;
mod machine;
mod matrix;
mod model;
mod run;
mod scenarios;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lab::cache::Cache;

/// Fetch, build, boot and compare kernels: the same suite on a series of them.
///
/// Needs no root (but for `setup`), no hardware virtualisation, and leaves this machine's kernel,
/// cgroups and apt as they are. Times measured under emulation are marked as such everywhere.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Where sources, builds and images are kept [default: $XDG_CACHE_HOME/lab, else ~/.cache/lab]
    #[arg(long, global = true, value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is installed, what is missing, and the one command that installs it
    Doctor,
    /// Install what is missing (Debian and its kin; as root or through sudo)
    Setup,
    /// Get kernel sources and stock images as signed packages, in private apt directories
    Fetch(fetch::Args),
    /// List the kernels at hand
    Kernels,
    /// Build a small kernel; a second build of the same content takes no time
    Build(build::CommandArgs),
    /// Boot a kernel to init's verdict and say how long it took
    Boot(run::BootArgs),
    /// Run a command in a virtual machine that is thrown away; the exit status is the command's
    Run(run::RunArgs),
    /// Compare the base with a patch series: same configuration, boots taking turns, one table
    Compare(compare::Args),
    /// Count the instructions of a job that nothing watches, on the base and with a patch series
    Cost(cost::Args),
    /// Build and boot the kernel after each patch of a series, one after another
    Each(each::Args),
    /// Run the kernel's selftests of a tree and the project's integration tests in a kernel
    Test(test::Args),
    /// Run every scenario with every mechanism on a row of kernels, and compare with what is known
    /// of each
    Scenarios(scenarios::Args),
    /// Run the same measurements on a series of kernels and write the table; fetches and builds
    /// what is missing
    Matrix(matrix::Args),
    /// Check the model of exit, notification, removal and their watchers in all its configurations
    Model(model::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match go(cli) {
        Ok(code) => code,
        // The reader of the output has closed the pipe, as `head` does: that is not a failure of
        // the lab.
        Err(error) if say::is_closed(&error) => ExitCode::from(say::STATUS_CLOSED),
        Err(error) => {
            tell!("lab: {error:#}");
            ExitCode::from(run::STATUS_LAB_FAILED)
        }
    }
}

fn go(cli: Cli) -> anyhow::Result<ExitCode> {
    let cache = || Cache::open(cli.cache.as_deref());
    match cli.command {
        Command::Doctor => Ok(doctor::doctor()),
        Command::Setup => doctor::setup(),
        Command::Fetch(args) => fetch::fetch(&cache()?, &args),
        Command::Kernels => fetch::kernels(&cache()?),
        Command::Build(args) => build::build(&cache()?, &args),
        Command::Boot(args) => run::boot(&cache()?, &args),
        Command::Run(args) => run::run(&cache()?, &args),
        Command::Test(args) => test::test(&cache()?, &args),
        Command::Scenarios(args) => scenarios::scenarios(&cache()?, &args),
        Command::Cost(args) => cost::cost(&cache()?, &args),
        Command::Each(args) => each::each(&cache()?, &args),
        Command::Compare(args) => compare::compare(&cache()?, &args),
        Command::Matrix(args) => matrix::matrix(&cache()?, &args),
        Command::Model(args) => model::model(&args),
    }
}
