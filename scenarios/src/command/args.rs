//! The command line: its syntax, not its meaning.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::exec::ExecArgs;
use super::exit::Exit;
use super::fleet::ScaleArgs;
use super::gap::Gap;
use super::glossary;
use super::measure::MeasureArgs;
use super::recommend::RecommendArgs;
use super::request::{FEW_TRIALS, REFERENCES, SOME_TRIALS};
use super::select::Unknown;
use super::values::{log_filter, long_time, size, some_time};
use crate::SCENARIOS;

/// The help for `--reference` beyond its default.
const REFERENCE_MORE: &str = "\n\n\
    The oracle says when all are dead; these detectors say when it can be known. A detector that \
    reaps (subreaper+cgroup-events) keeps zombies of the tree while the strategy acts, and so \
    helps it against a bomb.";

fn reference_help() -> String {
    format!(
        "Detectors that watch while a strategy kills; several take turns, block by block [default: \
            {}]",
        REFERENCES.join(", ")
    )
}

const EXAMPLES: &str = "\
Examples:
  scenario forkbomb                        the main job: every detector, every strategy, one table
  scenario setsid --detector 'cgroup-*'    only the detectors that watch the cgroup
  scenario exit-now --set lifetime=0,5ms --trials 200 --json > trials.jsonl
  scenario forkbomb --detector none --kill cgroup-kill --kill freeze-kill --trials 20
  scenario forkbomb --kill sound --trials 200 --detector none --stages
  scenario sleepers --set sleepers=10,100,1000 --tasks 1100 --memory 2G --kill sound --detector none
  scenario show setsid                     its script and what is expected; --script FILE runs one
  scenario all                             every row once, in at most five minutes
  scenario all --full --format junit       several trials of each row, for a test system
  scenario exec -- make -j4                any program as a workload
  scenario scale --sites 1,1000            one loop over many sites, mechanism by mechanism
  scenario measure --help                  a run as a campaign: resumable, A/A rows, open loop
  scenario doctor                          what this machine offers, what is missing, how to get it
  scenario recommend server                what to use here, and why
";

fn after_long_help() -> String {
    format!("{EXAMPLES}\n{}\n{}", Exit::help(), glossary::text())
}

/// Words that mean something else than a scenario where one may stand: the commands, `help`, `all`
/// and `none`.
pub(super) fn reserved() -> Vec<String> {
    let mut command = Cli::command();
    command.build();
    let commands = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned());
    commands.chain(["all", "none"].map(str::to_owned)).collect()
}

/// The error if the first word of the command line is nearly a command, so that the rest could not
/// be understood.
pub(super) fn misspelt() -> Option<Unknown> {
    let first = std::env::args().nth(1)?;
    misspelt_word(&first)
}

fn misspelt_word(first: &str) -> Option<Unknown> {
    let reserved = reserved();
    let scenarios = SCENARIOS.iter().map(|s| s.spec().id);
    let known: Vec<&str> = reserved
        .iter()
        .map(String::as_str)
        .chain(scenarios)
        .collect();
    let plain = !first.starts_with('-') && !first.contains(['*', '?', ':']);
    (plain && !known.contains(&first)).then(|| Unknown::new("scenario or command", first, &known))
}

/// Starts hostile process trees inside limits, has completion detectors watch them and kill
/// strategies end them, and prints which detectors were right, how late they were, and what was
/// left alive.
#[derive(Debug, Parser)]
#[command(name = "scenario", version, max_term_width = 110)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
#[command(after_help = "`scenario forkbomb` is the main job. `--help` says more, has examples, and \
    explains the words.", after_long_help = after_long_help())]
pub(super) struct Cli {
    /// What is to be run.
    #[command(flatten)]
    pub run: RunArgs,
    /// Commands beside the runs.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Commands beside the plain run.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run scenarios. The same as without this word: `scenario run forkbomb` is `scenario
    /// forkbomb`.
    Run(Box<RunArgs>),
    /// Run any program as a workload: which detectors know when all of it is gone, which strategies
    /// end it.
    Exec(Box<ExecArgs>),
    /// Measure: a run as a campaign that can be interrupted, goes on in several sittings, and
    /// records what disturbs it.
    Measure(Box<MeasureArgs>),
    /// Scale: one loop that watches many sites, by mechanism and number of sites: latency and CPU
    /// time of each completion.
    Scale(ScaleArgs),
    /// List scenarios, detectors and strategies, with the axes that --set takes.
    List(ListArgs),
    /// Show a scenario: its script as text, its axes, and what is expected of each scope and reach.
    Show(ShowArgs),
    /// Say what this machine offers, what is missing, why, and how to get it.
    Doctor(DoctorArgs),
    /// Name the detector and the strategy to use on this machine, with the reason and the measured
    /// numbers.
    Recommend(RecommendArgs),
    /// Remove what a crashed run left: its processes and cgroups. Running runs are left alone.
    Clean(CleanArgs),
}

/// The shape of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

/// The shape of a run's summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RunFormat {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
    /// KTAP version 1, for `kunit.py parse` and what reads TAP: one row is one test.
    Ktap,
    /// JUnit XML, for hosted test systems: one row is one test.
    Junit,
}

/// The shape of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
    /// What the specs say about each detector and strategy: the page SOUNDNESS.md.
    Markdown,
}

/// Arguments of a run.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArgs {
    /// Scenarios, or `all` (`scenario list` names them).
    ///
    /// A scenario that ends by itself is watched by the detectors. A bomb never ends, so it is
    /// killed by the strategies, and the detectors watch every scenario that ends by itself.
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<String>,

    /// Run this script instead of a scenario; `-` is standard input
    ///
    /// What is expected is worked out from a model of what each scope sees; where that depends on
    /// the order of events, nothing is. `scenarios/doc/scripts.md` explains the language.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenarios", "vm"],
        help_heading = "What is run")]
    pub script: Option<PathBuf>,

    /// Detectors to run: an id, a pattern such as `cgroup-*`, a scope such as `scope:cgroup`, `all`
    /// or `none` [default: all]
    ///
    /// May be repeated. A detector that is named in full and that this machine does not offer ends
    /// the command with code 3; one that only a pattern or the default asks for is listed below the
    /// table with the reason.
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        help_heading = "Who takes part"
    )]
    pub detector: Vec<String>,

    /// Detectors to leave out: an id or a pattern
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        help_heading = "Who takes part"
    )]
    pub no_detector: Vec<String>,

    /// Strategies to run: an id, a pattern, a scope, `all`, `none`, `sound` or `unsound` [default:
    /// all, for scenarios that do not end by themselves]
    ///
    /// `sound` selects those that claim to leave nothing alive and are expected to do so on that
    /// scenario, `unsound` the others. With this option, scenarios that end by themselves are
    /// killed as well, if they have a variant that lives for ever.
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        help_heading = "Who takes part"
    )]
    pub kill: Vec<String>,

    /// Strategies to leave out: an id or a pattern
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        help_heading = "Who takes part"
    )]
    pub no_kill: Vec<String>,

    /// Detectors that watch while a strategy kills
    #[arg(long, value_name = "ID", value_delimiter = ',', help_heading = "Who takes part",
          help = reference_help(), long_help = reference_help() + REFERENCE_MORE)]
    pub reference: Vec<String>,

    /// Set an axis: lifetime=0, or several values for several rows: lifetime=0,1ms,5ms
    #[arg(
        long,
        value_name = "AXIS=VALUE[,VALUE...]",
        help_heading = "What is run"
    )]
    pub set: Vec<String>,

    /// Where the tree lives: `pid-1` puts it below the first process of a PID namespace, as in a
    /// container whose program is PID 1
    #[arg(long, value_enum, default_value_t = Context::Plain, help_heading = "What is run")]
    pub context: Context,

    /// Trials of each row
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "What is run",
          help = format!("Trials of each row [default: {FEW_TRIALS}, or {SOME_TRIALS} for a single \
              scenario that ends by itself]"))]
    pub trials: Option<u32>,

    /// Begin no trial that is expected to end later than this after the beginning, and name the
    /// rows that were left out [default: none; of `all` without --trials and --full 5 minutes]
    #[arg(long, value_name = "TIME", value_parser = long_time, help_heading = "What is run")]
    pub budget: Option<Duration>,

    /// With `all`: several trials of each row, in random order and without a budget, and not only
    /// one
    #[arg(long, help_heading = "What is run")]
    pub full: bool,

    /// Seed of the order of trials and of the scripts [default: drawn, and recorded in plan.json]
    #[arg(long, value_name = "N", help_heading = "What is run")]
    pub seed: Option<u64>,

    /// How long a detector may wait, and how long the processes may take to die after a kill
    /// [default: 1s; where a detector is expected to see the end, 10s, but in a campaign 1s]
    #[arg(long, value_name = "TIME", value_parser = some_time, help_heading = "What is run")]
    pub deadline: Option<Duration>,

    /// Idle time before each trial, so that one does not disturb the next: a range to draw from, or
    /// one time [default: 0..20ms, in a campaign 10ms..30ms]
    #[arg(long, value_name = "TIME[..TIME]", value_parser = Gap::parse,
        help_heading = "What is run")]
    pub gap: Option<Gap>,

    /// Print the plan and run nothing
    #[arg(long, help_heading = "What is run")]
    pub dry_run: bool,

    /// A cgroup v2 directory that the command may use [default: found; `scenario doctor` says
    /// which]
    #[arg(long, value_name = "PATH", help_heading = "Limits")]
    pub cgroup: Option<PathBuf>,

    /// Most tasks that a workload may have at once
    #[arg(long, value_name = "N", default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(4..=100_000), help_heading = "Limits")]
    pub tasks: u64,

    /// Most memory that a workload may use, where there is a memory controller
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = size,
        help_heading = "Limits")]
    pub memory: u64,

    /// Accept a machine on which tasks cannot be limited. A bomb can then take the whole machine
    /// down
    #[arg(long, help_heading = "Limits")]
    pub no_limits: bool,

    /// Run the same command in a virtual machine that is thrown away: no cgroup and no root is
    /// needed
    ///
    /// The machine is the kernel lab's (`lab`, beside this program or on PATH); KERNEL is one of
    /// `lab kernels` [default: the newest stock one]. If it is emulated, the tables say so: order
    /// and counts are then valid, times are not. Records are copied to --out, or to the default
    /// place. The exit code is that of the command inside, 124 at the end of an hour, 125 if the
    /// machine failed.
    #[arg(long, value_name = "KERNEL", num_args = 0..=1, require_equals = true,
        default_missing_value = "newest",
          conflicts_with = "cgroup", help_heading = "Limits")]
    pub vm: Option<String>,

    /// Write each trial to standard output as one JSON line; the summary goes to standard error
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Where to keep the recorded trials [default: $XDG_STATE_HOME/scenario/<run>, the last ten]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,

    /// Shape of the summary
    #[arg(long, value_enum, default_value_t = RunFormat::Table, help_heading = "Output")]
    pub format: RunFormat,

    /// Print every row, with costs and stages, and not only the answer
    ///
    /// The same text is always kept beside the trials, as summary.txt.
    #[arg(long, help_heading = "Output")]
    pub all: bool,

    /// Print for each strategy when each stage of its kill was reached
    #[arg(long, help_heading = "Output")]
    pub stages: bool,

    /// Print no progress, no paths and no hints
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,

    /// What to log to standard error: error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        env = "HARNESS_LOG",
        default_value = "warn",
        value_parser = log_filter,
        help_heading = "Output"
    )]
    pub log: String,
}

impl RunArgs {
    /// `--deadline`, or the usual one.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline.unwrap_or(Duration::from_secs(1))
    }
}

/// Arguments of `scenario list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Shape of the list
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// Surroundings of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Context {
    /// As the scenario has it.
    #[default]
    Plain,
    /// Below the first process of a PID namespace.
    #[value(name = "pid-1")]
    Pid1,
}

/// Arguments of `scenario show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The scenario (`scenario list` names them)
    #[arg(required_unless_present = "script", value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Show this script instead; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    pub script: Option<PathBuf>,
    /// Set an axis: lifetime=5ms
    #[arg(long, value_name = "AXIS=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `scenario doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// A cgroup v2 directory that the command may use
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Arguments of `scenario clean`.
#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where to look [default: every place where a run could have been]
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
