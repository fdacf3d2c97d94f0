//! The accepted syntax.

use clap::{Parser, Subcommand, ValueEnum};

/// Score launchers of programs, promise by promise.
///
/// A launcher is the id of an adapter that is shipped (`allgone-conform list`), the path of an
/// adapter's file, or `all`. Exit codes: 0 every claimed promise was kept (with --baseline: nothing
/// has become worse); 1 something was not; 2 a mistake in the arguments or in an adapter; 3 the
/// suite could not work here.
#[derive(Debug, Parser)]
#[command(
    name = "allgone-conform",
    version,
    args_conflicts_with_subcommands = true
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
    #[command(flatten)]
    pub(super) play: PlayArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Name all launchers and promises, and what is missing here
    List,
    /// Print a promise's page: its exact test
    Explain {
        /// The promise
        promise: String,
    },
    /// Print recorded scores (a file of --out) as a page of Markdown, with what is written of them
    Render {
        /// The file
        file: String,
        /// A page of HTML, in which each place of the table leads to its trials
        #[arg(long)]
        html: bool,
    },
    /// Score launchers again and again, and say which verdicts are always the same
    Repeat(RepeatArgs),
    /// Write a first adapter, from questions or from options
    New(NewArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct RepeatArgs {
    /// So many rounds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(super) times: u32,
    /// And as many more while so many threads do nothing but compute
    #[arg(long, value_name = "THREADS", default_value_t = 0)]
    pub(super) busy: usize,
    #[command(flatten)]
    pub(super) play: PlayArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct PlayArgs {
    /// Launchers
    pub(super) launchers: Vec<String>,
    /// Only these promises
    #[arg(long, value_delimiter = ',')]
    pub(super) promise: Vec<String>,
    /// Only this case, such as limit/daemon
    #[arg(long)]
    pub(super) case: Option<String>,
    /// Play each case of end-kill so often, and others a third as often
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) runs: u32,
    /// Look for the rare as well: 300 runs of the simplest trees, crowds of 100
    #[arg(long)]
    pub(super) thorough: bool,
    /// The seed of random moments [default: a random one, which is printed]
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// So many trials at a time
    #[arg(long, default_value_t = 4)]
    pub(super) parallel: usize,
    /// Run launchers as this user
    #[arg(long, value_name = "UID")]
    pub(super) user: Option<u32>,
    /// Run launchers at a terminal, as from a shell with job control: streams that a case does not
    /// read are the terminal, and the SIGINT to a process group is a Ctrl-C
    #[arg(long)]
    pub(super) terminal: bool,
    /// Run launchers in a container of runc with Docker's default profile, as by docker exec;
    /// `strangers` is not played
    #[arg(long, conflicts_with = "terminal")]
    pub(super) container: bool,
    /// Fail only on what was kept in this earlier --out
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<String>,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Write the scores as JSON to this file as well
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<String>,
    /// Do not play again what --out has already, and write it after each launcher: a run that was
    /// interrupted goes on
    #[arg(long, requires = "out")]
    pub(super) resume: bool,
    /// The program that launchers start [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub(super) payload: Option<String>,
    /// Say nothing on standard error while it runs
    #[arg(long, short)]
    pub(super) quiet: bool,
}

impl PlayArgs {
    /// The options that belong into a command which plays a case again.
    pub(super) fn options(&self) -> String {
        let mut text = String::new();
        if let Some(user) = self.user {
            text += &format!(" --user {user}");
        }
        if self.terminal {
            text += " --terminal";
        }
        if self.container {
            text += " --container";
        }
        if self.thorough {
            text += " --thorough";
        }
        if self.runs != 3 {
            text += &format!(" --runs {}", self.runs);
        }
        text
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Ktap,
    Junit,
    Markdown,
}

#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The file to write, NAME.toml
    pub(super) file: String,
    /// The command that runs a program, such as `timeout 60 {command}`
    #[arg(long)]
    pub(super) run: Option<String>,
    /// The command that runs a program for {s} seconds or {ms} milliseconds
    #[arg(long)]
    pub(super) limit: Option<String>,
    /// The command that stops a run from outside
    #[arg(long)]
    pub(super) stop: Option<String>,
    /// What the launcher is, in one line
    #[arg(long)]
    pub(super) about: Option<String>,
}
