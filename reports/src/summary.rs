//! `generated/summary.json`: the figures of a report in a form that another program reads
//! (`scenario recommend` does).
//!
//! One [`Row`] is all trials of one mechanism on one scenario with one set of parameters in one
//! recorded campaign (*dataset*). Durations are integer nanoseconds, shares are numbers of trials,
//! never rounded. Fields are only ever added; a change of meaning raises [`SCHEMA`]. Emulated
//! measurements are not in it.
//!
//! What a `null` means stands at each field; mostly: too few trials, or beyond the deadline in more
//! trials than the quantile allows (then `missed` or `survived` is not 0). An interval is `[low,
//! high]` at 95 % confidence; an end is `null` if the sample is too small for it or if it lies
//! beyond the deadline.

use std::collections::BTreeMap;

use harness_record::Plane;
use serde::{Deserialize, Serialize};

/// Version of the format.
///
/// 2: a kill's times start at the decision; `n` is without broken trials, which are counted in
/// `broken`; `knowing` instead of `knowing_ns`, `holding_ns` and `dying_ns` instead of
/// `prelude_ns`; `word`.
pub const SCHEMA: u32 = 2;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The command that made it.
    pub command: String,
    /// What it was made from, sorted by name.
    pub datasets: Vec<Source>,
    /// All rows: by dataset, plane, scenario, parameters, mechanism, twin.
    pub rows: Vec<Row>,
    /// What watching many jobs costs.
    pub scale: Vec<Scale>,
}

/// A dataset, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name, which is that of its directory below `reports/data`.
    pub name: String,
    /// The runs of its trials.
    pub runs: Vec<String>,
    /// The command that recorded them.
    pub command: String,
    /// `uname -r` of the kernel.
    pub kernel: String,
    /// Ticks per second of the kernel, if known.
    pub hz: Option<u32>,
    /// The processor.
    pub cpu: String,
    /// How many processors.
    pub cpus: Option<u64>,
    /// Recorded trials.
    pub trials: usize,
    /// Share of the time that a spinning control lost to others, in permille; `null` if it was not
    /// measured.
    pub noise_permille: Option<u32>,
    /// Whether that is so much that times are those of a loaded machine.
    pub loaded: bool,
}

/// All trials of one mechanism on one scenario at one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Dataset.
    pub dataset: String,
    /// `detect`: nothing is killed. `kill`: a strategy kills, a reference detector watches.
    pub plane: Plane,
    /// Scenario id.
    pub scenario: String,
    /// Scenario and the parameters that were set or that vary: `exit-now lifetime=1ms`.
    pub label: String,
    /// Values of all axes; times in nanoseconds.
    pub params: BTreeMap<String, u64>,
    /// Detector id; in the kill plane that of the first detector (they take turns there, see
    /// `knowing_ns`).
    pub detector: String,
    /// Strategy id; `null` in the detect plane.
    pub strategy: Option<String>,
    /// Which of several identical rows (A/A), from 0.
    pub twin: u32,
    /// Recorded trials, without those that broke.
    pub n: usize,
    /// Trials that broke or were interrupted: they say nothing about the mechanism and are in no
    /// other figure.
    pub broken: usize,
    /// Trials that ended as expected.
    pub held: usize,
    /// Said "empty" (or that the site was removed, where that is the question), and it was.
    pub right: usize,
    /// Said "empty" while a process was alive.
    pub early: usize,
    /// Gave no verdict by the deadline although all was over.
    pub missed: usize,
    /// Kill plane: nothing was left alive.
    pub emptied: usize,
    /// Kill plane: something was left alive.
    pub survived: usize,
    /// Everything else: said that it does not know, or nothing was over.
    pub other: usize,
    /// Detect: from the last process's exit stamp to the verdict. Kill: from the decision to the
    /// oracle's `populated 0`.
    pub p50_ns: Option<u64>,
    /// Its interval.
    pub p50_ci: [Option<u64>; 2],
    /// The 90th percentile; `null` below 10 trials.
    pub p90_ns: Option<u64>,
    /// Its interval.
    pub p90_ci: [Option<u64>; 2],
    /// The 99th percentile; `null` below 100 trials.
    pub p99_ns: Option<u64>,
    /// Its interval.
    pub p99_ci: [Option<u64>; 2],
    /// The 99.9th percentile; `null` unless at least ten trials exceed it.
    pub p999_ns: Option<u64>,
    /// Its interval.
    pub p999_ci: [Option<u64>; 2],
    /// The largest that was seen.
    pub max_ns: Option<u64>,
    /// Trials above the upper fence (third quartile plus three times the distance of the
    /// quartiles). They count.
    pub outliers: usize,
    /// The mechanism that this row is compared with, on the same scenario in the same blocks;
    /// `null` if there is none, or if it is that itself.
    pub reference: Option<String>,
    /// `ratio`, where the reference is `waitpid-main`.
    pub ratio_to_waitpid: Option<f64>,
    /// Median by the reference's median, whatever the reference is; `null` if beyond the deadline.
    pub ratio: Option<f64>,
    /// Its block-bootstrap interval.
    pub ratio_ci: [Option<f64>; 2],
    /// Median less the reference's median.
    pub difference_ns: Option<i64>,
    /// Its block-bootstrap interval.
    pub difference_ci: [Option<i64>; 2],
    /// p-value of the permutation test against the reference, after Holm's correction over all rows
    /// of its dataset and plane.
    pub p_holm: Option<f64>,
    /// The word for the two. Twins are compared as one and have the same word, ratio, difference
    /// and p-value.
    pub word: Option<Word>,
    /// Median time that a launch took: from asking for the workload to its own first stamp, after
    /// its exec.
    pub launch_ns: Option<u64>,
    /// Median time that was paid before the workload could start (the warm-up of a slot); `null` if
    /// there is none.
    pub prepare_ns: Option<u64>,
    /// Median CPU time of the observer between arming and disarming.
    pub cpu_ns: Option<u64>,
    /// Median number of returns from a sleep.
    pub wakeups: Option<u64>,
    /// Median CPU time of the observer for each second in which the tree slept; `null` where it did
    /// not sleep for long.
    pub idle_cpu_ns: Option<u64>,
    /// Median number of times that the observer went back to sleep meanwhile.
    pub idle_wakeups: Option<u64>,
    /// Kill plane: largest number of survivors of a trial.
    pub survivors_max: usize,
    /// Kill plane: trials in which a bystander of the kind was hit.
    pub canaries_hit: BTreeMap<String, usize>,
    /// Kill plane, by detector: how often it knew late.
    pub knowing: BTreeMap<String, Knowing>,
    /// Processes born, if as many in every trial.
    pub births: Option<u64>,
    /// Kill plane: median time from the strategy's first act until all members were known to be
    /// held, if it waits for that.
    pub held_ns: Option<u64>,
    /// Kill plane: median number of signals.
    pub signals: Option<u64>,
    /// Kill plane: median time from the decision to the first signal.
    pub holding_ns: Option<u64>,
    /// Kill plane: median time from the first signal to the oracle's `populated 0`.
    pub dying_ns: Option<u64>,
}

/// The word for a row and its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// The smaller median, by more than the threshold; chance is an unlikely explanation.
    Faster,
    /// The larger one, in the same way.
    Slower,
    /// None of both.
    NotToldApart,
    /// With so few blocks no difference could have been shown.
    TooFewBlocks,
}

/// How soon the end of a kill was known to a detector: from the end (or the strategy's return, if
/// that is later) to its verdict. The times have two modes, at once and after the kernel's rate
/// limit, so a median says little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knowing {
    /// Trials that it watched.
    pub n: usize,
    /// Of these, later than 1 ms.
    pub late: usize,
    /// Of these, not at all until the deadline.
    pub never: usize,
}

/// One mechanism watching so many sites at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Dataset.
    pub dataset: String,
    /// Mechanism id.
    pub mechanism: String,
    /// Sites watched at once.
    pub sites: u64,
    /// Populated sites, if recorded.
    pub populated: Option<u64>,
    /// Recorded measurements.
    pub n: usize,
    /// Measurements in which the right site was found to be empty, not before it was.
    pub right: usize,
    /// Over these, median of each recorded quantity, by its name (with its unit).
    pub medians: BTreeMap<String, u64>,
}
