//! Behaviours of the kernel around "everything is gone", each measured directly and printed as one
//! JSON line.
//!
//! It runs in the lab's machines and also on a real one (root, or a delegated cgroup v2). It makes
//! cgroups below its own, and removes them. Times are from a stamp that the last process writes
//! just before it exits to the moment when the waiter is running again. All cases of a probe take
//! turns within one run, so that their ratios can be trusted where their absolute times, under
//! emulation, cannot.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks to its user"
)]

mod cost;
mod freeze;
mod hierarchies;
mod latency;
mod lost;
mod order;
mod replay;
mod reuse;
mod site;
mod storm;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measure the behaviour of the running kernel; one JSON line per answer.
#[derive(Debug, Parser)]
struct Cli {
    /// What to measure [default: everything but cost, hierarchies and replay]
    #[arg(value_enum)]
    probes: Vec<Probe>,
    /// How often to repeat each measurement
    #[arg(long, short = 'n', default_value_t = 50)]
    tries: usize,
    /// Life of the job in the latency probe, in microseconds; may be given several times
    #[arg(long, value_name = "US", default_values_t = [0, 1_000])]
    lifetime_us: Vec<u64>,
    /// Tasks in the freeze probe
    #[arg(long, default_value_t = 10)]
    tasks: usize,
    /// The steps of the replay probe, as `lab model --steps NAME` prints them
    #[arg(long, value_name = "STEPS", required_if_eq("probes", "replay"))]
    steps: Option<String>,
    /// What the replay must come to: "never woken" in one try at least, or "told" in every one
    #[arg(long, value_name = "OUTCOME", requires = "steps")]
    expect: Option<String>,
    /// How long the storm probe lasts
    #[arg(long, default_value_t = 1, value_name = "SECONDS")]
    storm_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Probe {
    /// From the last exit to the waiter, by mechanism
    Latency,
    /// Which is first, `waitid` or `populated 0`, and how far apart
    Order,
    /// What rmdir says right after the last process was reaped
    Rmdir,
    /// Is a child born dead in a cgroup that was killed before
    Reuse,
    /// Is a sleeper on `cgroup.events` woken when the owner removes the cgroup
    Lost,
    /// From the first signal to "all gone" when frozen tasks are killed
    Freeze,
    /// How many wake-ups a watcher gets while a cgroup flips between empty and not
    Storm,
    /// What a job costs that nothing watches: instructions, in virtual time with one CPU
    Cost,
    /// A process enters and leaves a cgroup of each mounted hierarchy, version 1 included
    Hierarchies,
    /// A counter-example of the model, driven step by step (needs `--steps`)
    Replay,
}

/// One answer.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    /// The probe.
    pub probe: &'static str,
    /// The case of it.
    pub case: String,
    /// How often it was tried.
    pub tries: usize,
    /// What happened how often.
    pub counts: BTreeMap<&'static str, usize>,
    /// The largest value seen: of several boots the largest of all, where counts add up.
    pub peaks: BTreeMap<&'static str, usize>,
    /// Times, one a try that has one, in the order of the tries.
    pub samples_ns: Vec<u64>,
}

impl Answer {
    pub(crate) fn new(probe: &'static str, case: impl Into<String>) -> Self {
        Self {
            probe,
            case: case.into(),
            ..Self::default()
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-probe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Refuses to measure with the tick: a kernel without another clock source reports 0 or 4 ms for
/// everything.
fn clock_is_fine() -> Result<()> {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let name = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    anyhow::ensure!(
        !name.contains("jiffies"),
        "the clock of this kernel is {}, which only moves with the tick: nothing can be measured. \
            On a busy host the calibration of the TSC fails; a kernel with ACPI has the HPET",
        name.trim()
    );
    Ok(())
}

fn run(cli: &Cli) -> Result<()> {
    let probes = if cli.probes.is_empty() {
        // Hierarchies measures nothing, and makes cgroups in hierarchies that this process need not
        // be in; a replay needs its steps; the cost has a meaning in one kind of machine only.
        let all = Probe::value_variants().iter().copied();
        all.filter(|probe| !matches!(probe, Probe::Cost | Probe::Hierarchies | Probe::Replay))
            .collect()
    } else {
        cli.probes.clone()
    };
    clock_is_fine()?;
    let own = site::OwnCgroup::make()?;
    for probe in probes {
        let answers = match probe {
            Probe::Latency => latency::ask(&own, cli.tries, &cli.lifetime_us),
            Probe::Order => order::ask(&own, cli.tries),
            Probe::Rmdir => order::ask_rmdir(&own, cli.tries),
            Probe::Reuse => reuse::ask(&own, cli.tries),
            Probe::Lost => lost::ask(&own, cli.tries),
            Probe::Freeze => freeze::ask(&own, cli.tries, cli.tasks),
            Probe::Cost => cost::ask(&own, cli.tries),
            Probe::Hierarchies => hierarchies::ask(cli.tries),
            Probe::Replay => {
                let steps = cli.steps.as_deref().context("replay needs --steps")?;
                replay::ask(&own, cli.tries, steps)
            }
            Probe::Storm => storm::ask(&own, std::time::Duration::from_secs(cli.storm_s)),
        };
        let answers = answers.with_context(|| format!("{probe:?}"))?;
        for answer in &answers {
            println!(
                "{}",
                serde_json::to_string(answer).context("encode an answer")?
            );
        }
        if let (Probe::Replay, Some(expected)) = (probe, &cli.expect) {
            replay::is_as_expected(&answers, expected)?;
        }
    }
    own.remove()
}
