//! The command line of `scenario measure`, beyond that of a plain run.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::super::args::RunArgs;
use super::super::values::duration;
use super::pins::Pins;
use super::schedule::Arrivals;
use super::shards::Shards;

const EXAMPLES: &str = "\
Examples:
  scenario measure exit-now --set lifetime=0,1ms --detector 'cgroup-*' --trials 1000 --out DIR
  scenario measure exit-now --trials 1000 --twins waitpid-main --for 4m --out DIR
                                                        A/A rows; only the first four minutes ...
  scenario measure --resume DIR --for 4m                ... and the next four
  scenario measure forkbomb --detector none --kill all --trials 200 --out DIR
  scenario measure exit-now --every poisson:50ms --trials 500 --out DIR
                                                        open loop
  scenario measure fork-exit --detector 'cgroup-events-*' --trace --out DIR
                                                        where the time goes, stage by stage

DIR then holds plan.json (what was decided before the first trial), environment.json, sittings.json
(run and time of each sitting), trials.jsonl and noise.jsonl. None of them contains warm-up trials.
METHODOLOGY.md, \"Campaigns\", says what each figure means.

Exit code 6: --for has stopped the campaign in good order. This measures it to its end:
  until scenario measure --resume DIR --for 4m; do [ $? = 6 ] || break; done";

/// Measure: a run as a campaign.
///
/// Takes what a plain run takes, and plays it as a campaign: complete blocks in random order, an
/// idle gap and a measurement of the machine's noise between them, and every trial on disk before
/// the next one begins. Whatever interrupts it (SIGINT, SIGKILL, a power cut), --resume goes on
/// with the next trial of the same plan; an unfinished last line is cut off, and no trial is
/// recorded twice or left out.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES, mut_arg("scenarios", |arg| arg.required(false)))]
pub(in super::super) struct MeasureArgs {
    /// What is run.
    #[command(flatten)]
    pub run: RunArgs,

    /// Go on with the campaign that is recorded in DIR
    ///
    /// Its plan.json decides what is run. Refused if the figures would not belong together: another
    /// version or build of this program, another kernel, another boot.
    #[arg(long, value_name = "DIR", help_heading = "Campaign", conflicts_with_all = [
        "scenarios", "detector", "no_detector", "kill", "no_kill", "reference", "set", "trials",
        "seed", "deadline", "gap", "dry_run", "cgroup", "tasks", "memory", "no_limits", "out", "vm",
        "twins", "warm_up", "noise", "patience", "every", "pin", "trace", "shard",
    ])]
    pub resume: Option<PathBuf>,

    /// With --resume: go on although the machine was booted since. Differences of stamps stay
    /// valid, stamps of two boots do not compare
    #[arg(long, help_heading = "Campaign")]
    pub across_boots: bool,

    /// Stop at the end of the block in which this time is up, such as 90s or 4m; the exit code is
    /// then 6
    #[arg(long = "for", value_name = "TIME", value_parser = span, help_heading = "Campaign")]
    pub stop_after: Option<Duration>,

    /// Detectors and strategies whose rows are run twice (A/A): an id, a pattern or `all`. The
    /// difference of twins is chance
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        help_heading = "Campaign"
    )]
    pub twins: Vec<String>,

    /// Trials at the beginning of each sitting that are run and not recorded
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        help_heading = "Campaign"
    )]
    pub warm_up: usize,

    /// How long a control spins before each block, to measure what disturbs the machine; 0 for not
    /// at all
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration,
        help_heading = "Campaign")]
    pub noise: Duration,

    /// How long the blocks of a sitting may together wait for a quiet machine; 0 for not at all
    ///
    /// The machine is quiet when the control before a block lost at most 5 % of its time to others.
    /// The recorded noise is that of the first spin before each block, so waiting cannot make a
    /// busy machine look quiet.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = span,
        help_heading = "Campaign")]
    pub patience: Duration,

    /// Open loop: a start is intended after each such time, or at random with that mean
    /// (poisson:50ms), whether or not the trial before has ended. It replaces the gap
    ///
    /// Trials still run one after another. One that begins late is recorded with its intended start
    /// (`stamps.intended_ns`), so that waiting can be counted. The noise is measured only before
    /// the first block of a sitting.
    #[arg(long, value_name = "[poisson:]TIME", value_parser = Arrivals::parse,
        conflicts_with = "gap", help_heading = "Campaign")]
    pub every: Option<Arrivals>,

    /// Processors: a number for all, or roles: harness=0,observer=0,workload=1. A role that is not
    /// named runs where its parent may
    #[arg(long, value_name = "CPU", value_parser = Pins::parse, help_heading = "Campaign")]
    pub pin: Option<Pins>,

    /// Measure only a part of the blocks, for a campaign on many machines: part K of N, from 1, or
    /// several, such as 1,3/4. Needs --seed
    ///
    /// Every N-th block, each with all its rows, so that each part compares all of them under its
    /// own conditions. `report add NAME DIR...` puts the parts together, machine by machine.
    #[arg(long, value_name = "K/N", value_parser = Shards::parse, help_heading = "Campaign")]
    pub shard: Option<Shards>,

    /// Record the way from exit to verdict as well (`stages`): exit, flip, waking, running. Needs
    /// root
    ///
    /// It uses the kernel's tracepoints, which changes what is measured: compare stages within one
    /// such campaign, and its latencies with no other.
    #[arg(long, help_heading = "Campaign")]
    pub trace: bool,
}

/// Reads a time as [`duration`] does, and minutes and hours beside.
fn span(text: &str) -> Result<Duration, String> {
    let scaled = |suffix: char, seconds: u64| {
        let number: u64 = text.strip_suffix(suffix)?.parse().ok()?;
        number.checked_mul(seconds).map(Duration::from_secs)
    };
    match scaled('m', 60).or_else(|| scaled('h', 3_600)) {
        Some(span) => Ok(span),
        None => duration(text).map_err(|e| format!("{e}, or 4m or 1h")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::super::args::{Cli, Verb};
    use super::*;

    fn parsed(words: &[&str]) -> Result<MeasureArgs, clap::Error> {
        match Cli::try_parse_from([&["scenario", "measure"], words].concat())?.verb {
            Some(Verb::Measure(args)) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_campaign_takes_what_a_run_takes() {
        let args = parsed(&[
            "exit-now",
            "--trials",
            "5",
            "--pin",
            "workload=1",
            "--every",
            "poisson:2ms",
        ])
        .unwrap();
        assert_eq!(
            (args.run.scenarios, args.run.trials),
            (vec!["exit-now".to_owned()], Some(5))
        );
        assert_eq!(
            args.every,
            Some(Arrivals::Poisson(Duration::from_millis(2)))
        );
        assert!(parsed(&["exit-now", "--every", "2ms", "--gap", "1ms"]).is_err());
    }

    #[test]
    fn what_goes_on_is_already_decided() {
        assert!(parsed(&["--resume", "d", "--for", "4m", "--quiet"]).is_ok());
        for also in [
            &["exit-now"][..],
            &["--trials", "5"],
            &["--seed", "1"],
            &["--out", "e"],
            &["--twins", "all"],
        ] {
            assert!(
                parsed(&[&["--resume", "d"], also].concat()).is_err(),
                "{also:?}"
            );
        }
    }

    #[test]
    fn spans_may_be_minutes() {
        assert_eq!(span("4m"), Ok(Duration::from_secs(240)));
        assert_eq!(span("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(span("1h"), Ok(Duration::from_secs(3_600)));
        assert!(span("m").is_err() && span("4").is_err());
    }
}
