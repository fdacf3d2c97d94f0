//! What recorded trials come to, row by row: a pure function of the plan's rows and the records.

use std::collections::BTreeMap;

use harness::detect::Verdict;
use harness::expect::{Canary, Plane};
use harness::record::{Outcome, TrialRecord};
use serde::Serialize;

use super::stats::Sample;

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RowKey {
    /// Detect or kill.
    pub plane: Plane,
    /// Scenario id and the axes that were set or that vary: `exit-now lifetime=5ms`.
    pub scenario: String,
    /// The detector, or in the kill plane the strategy.
    pub mechanism: String,
}

/// All trials of one row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What it is about.
    pub key: RowKey,
    /// What is expected, in words.
    pub expected: String,
    /// Trials.
    pub n: usize,
    /// How they ended.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// How many ended as expected.
    pub held: usize,
    /// Detect plane: end of the workload to decision. Kill plane: first signal to the oracle's `populated 0`.
    pub latency: Sample,
    /// Returns from a sleep.
    pub wakeups: Sample,
    /// CPU time of the observer between arm and disarm.
    pub cpu: Sample,
    /// Kill plane only.
    pub kill: KillFigures,
    /// The trials that did not end as expected.
    pub broken: Vec<Broken>,
}

/// What only the kill plane has.
#[derive(Clone, Debug, Default)]
pub(super) struct KillFigures {
    /// Largest number of survivors in a trial.
    pub survivors_max: usize,
    /// Trials in which a canary of the kind was hit.
    pub canaries: BTreeMap<Canary, usize>,
    /// Signals sent one by one.
    pub signals: Sample,
    /// Passes over the members.
    pub passes: Sample,
    /// Reasons why processes lived on, with the number of processes.
    pub reasons: BTreeMap<String, usize>,
    /// What strategies did instead of what their name says.
    pub fallbacks: BTreeMap<String, usize>,
}

/// A trial that did not end as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Broken {
    /// Its number in the run.
    pub seq: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What the harness says about it.
    pub note: Option<String>,
}

impl Row {
    /// Sums up the trials of one row.
    pub(super) fn new(key: RowKey, expected: String, trials: &[&TrialRecord]) -> Self {
        let mut outcomes = BTreeMap::new();
        for trial in trials {
            *outcomes.entry(trial.outcome).or_insert(0) += 1;
        }
        let waited = |t: &&&TrialRecord| !matches!(t.outcome, Outcome::Broken | Outcome::Interrupted);
        let counters = |figure: fn(&TrialRecord) -> Option<u64>| {
            Sample::new(trials.iter().filter(waited).filter_map(|t| figure(t)).collect(), 0)
        };
        Self {
            expected,
            n: trials.len(),
            held: trials.iter().filter(|t| t.held).count(),
            latency: match key.plane {
                Plane::Detect => detect_latency(trials),
                Plane::Kill => kill_latency(trials),
            },
            wakeups: counters(|t| Some(t.counters.wakeups)),
            cpu: counters(|t| t.cpu_ns),
            kill: KillFigures::new(trials),
            broken: trials.iter().filter(|t| !t.held).map(|t| Broken::new(t)).collect(),
            outcomes,
            key,
        }
    }

    /// How many trials ended so.
    pub(super) fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }
}

impl Broken {
    fn new(trial: &TrialRecord) -> Self {
        Self {
            seq: trial.seq,
            outcome: trial.outcome,
            note: trial.note.clone(),
        }
    }
}

/// From the lower bound of the end to the decision. A miss is censored; a trial without a right verdict has no latency.
fn detect_latency(trials: &[&TrialRecord]) -> Sample {
    let mut seen = Vec::new();
    let mut censored = 0;
    for trial in trials {
        match (trial.outcome, &trial.verdict, trial.stamps.over_lower_ns) {
            (Outcome::Right, Some(Verdict::Empty { decided_ns, .. }), Some(over)) => {
                seen.push(decided_ns.saturating_sub(over));
            }
            (Outcome::Removed, Some(Verdict::SiteRemoved { at_ns }), Some(over)) => {
                seen.push(at_ns.saturating_sub(over))
            }
            (Outcome::Missed, ..) => censored += 1,
            _ => {}
        }
    }
    Sample::new(seen, censored)
}

/// From the first signal to the oracle's first read of `populated 0`. A trial with survivors is censored.
fn kill_latency(trials: &[&TrialRecord]) -> Sample {
    let mut seen = Vec::new();
    let mut censored = 0;
    for trial in trials {
        let first = trial.kill.as_ref().map(|k| k.first_signal_ns);
        match (trial.outcome, first, trial.stamps.unpopulated_ns) {
            (Outcome::Emptied, Some(first), Some(over)) => seen.push(over.saturating_sub(first)),
            (Outcome::Survived, ..) => censored += 1,
            _ => {}
        }
    }
    Sample::new(seen, censored)
}

impl KillFigures {
    fn new(trials: &[&TrialRecord]) -> Self {
        let mut figures = Self {
            survivors_max: trials.iter().map(|t| t.survivors.len()).max().unwrap_or(0),
            ..Self::default()
        };
        for trial in trials {
            for canary in &trial.canaries_hit {
                *figures.canaries.entry(*canary).or_default() += 1;
            }
            for survivor in &trial.survivors {
                *figures.reasons.entry(survivor.reason.clone()).or_default() += 1;
            }
            if let Some(fallback) = trial.kill.as_ref().and_then(|k| k.fallback.clone()) {
                *figures.fallbacks.entry(fallback).or_default() += 1;
            }
        }
        let reports = || trials.iter().filter_map(|t| t.kill.as_ref());
        figures.signals = Sample::new(reports().map(|k| k.signals).collect(), 0);
        figures.passes = Sample::new(reports().map(|k| k.passes).collect(), 0);
        figures
    }
}
