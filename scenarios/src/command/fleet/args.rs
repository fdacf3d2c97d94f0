//! The command line of `scenario scale`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::super::args::Format;
use super::super::values::{duration, some_time};

const EXAMPLES: &str = "\
Examples:
  scenario scale                                               every mechanism, 1 to 10000 sites
  scenario scale 'cgroup-events-*' --sites 1,100 --jobs 100    some of them
  scenario scale --sites 10000 --populated 100                 fewer processes: 9900 sites are empty

Each populated site holds a sleeping process; 10000 of them need about 3 GB of memory. DIR then
holds plan.json, environment.json and scale.jsonl, one line for each job. METHODOLOGY.md,
\"Many sites\", says what each figure means.";

/// Scale: one loop that watches many sites.
///
/// For each number of sites and each mechanism, a process of its own watches that many cgroups in
/// one loop. Then jobs end one after another, each in a site drawn at random, and the loop has to
/// say which: how late, for how much CPU time, and whether that was right.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(in super::super) struct ScaleArgs {
    /// Mechanisms: an id, a pattern or `all` [default: all]
    ///
    /// One that is named in full and that this machine does not offer ends the command with code 3.
    #[arg(value_name = "MECHANISM")]
    pub mechanisms: Vec<String>,

    /// Numbers of sites to be watched
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,10,100,1000,10000",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub sites: Vec<u32>,

    /// Jobs that end in each loop
    #[arg(long, value_name = "N", default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub jobs: u32,

    /// Sites in which a process sleeps; the others are watched and empty [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub populated: Option<u32>,

    /// How long a process has lived at least when it ends. Below 20ms the kernel's limit on events
    /// is measured too
    #[arg(long, value_name = "TIME", default_value = "30ms", value_parser = duration)]
    pub rest: Duration,

    /// How long a loop may take to notice
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    pub deadline: Duration,

    /// Seed of the order of the sites and of the mechanisms [default: drawn, and recorded in
    /// plan.json]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// A cgroup v2 directory that the command may use
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,

    /// Write each job to standard output as one JSON line; the summary goes to standard error
    #[arg(long)]
    pub json: bool,

    /// Where to keep the records [default: $XDG_STATE_HOME/scenario/<run>, the last ten]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Shape of the summary
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Print no progress, no paths and no hints
    #[arg(short, long)]
    pub quiet: bool,
}
