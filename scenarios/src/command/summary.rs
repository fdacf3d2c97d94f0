//! What recorded trials come to, row by row: a pure function of the plan's rows and the records.

use std::collections::BTreeMap;

use harness::detect::Verdict;
use harness::expect::{Canary, Plane};
use harness::kill::{self, KillReport};
use harness::record::{Outcome, Stamps, TrialRecord};
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
    /// Births, if they were as many in each trial: then the row is about a set of known size.
    pub population: Option<u64>,
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
    /// Whether the strategy claims to be sound and was: all emptied, nobody else hit.
    pub sound: bool,
    /// From the first act to the moment when all were known to be held, for strategies that hold.
    pub holding: Sample,
    /// For each detector that watched, from the oracle's `populated 0` (or the return of a strategy that takes longer) to its verdict.
    pub knowing: BTreeMap<String, Sample>,
    /// From the first act to each of [`STAGES`], in trials that emptied the set.
    pub stages: [Sample; STAGES.len()],
    /// Reasons why processes lived on, with the number of processes.
    pub reasons: BTreeMap<String, usize>,
    /// What strategies did instead of what their name says.
    pub fallbacks: BTreeMap<String, usize>,
}

/// A stage of a kill: what it is called, and when it was reached.
type Stage = (&'static str, fn(&KillReport, &Stamps) -> Option<u64>);

/// The stages of a kill, each with when it was reached. The order is that of `cgroup-kill`; others may have the end before the last signal.
pub(super) const STAGES: [Stage; 7] = [
    ("held", |kill, _| kill.held_ns),
    ("first signal", |kill, _| {
        Some(kill.first_signal_ns).filter(|at| *at > 0)
    }),
    ("last signal", |kill, _| Some(kill.last_signal_ns).filter(|at| *at > 0)),
    ("issued", |kill, _| Some(kill.issued_ns)),
    ("populated 0", |_, stamps| stamps.unpopulated_ns),
    ("all reaped", |_, stamps| stamps.reaped_ns),
    ("rmdir", |_, stamps| stamps.removed_ns),
];

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
            population: population(trials),
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

/// From the end to the verdict, by detector. The end is the oracle's `populated 0`, or the return of a strategy that goes on longer: nobody is
/// asked before. Who had noticed nothing at the deadline is censored. The oracle looks at intervals, so a detector may be ahead of it: that is
/// no time at all.
fn knowing(trials: &[&TrialRecord]) -> BTreeMap<String, Sample> {
    let mut all: BTreeMap<String, (Vec<u64>, usize)> = BTreeMap::new();
    for trial in trials
        .iter()
        .filter(|t| t.outcome == Outcome::Emptied && t.kill.is_some())
    {
        let (seen, censored) = all.entry(trial.detector.clone()).or_default();
        let issued = trial.kill.as_ref().map(|kill| kill.issued_ns);
        match (&trial.verdict, trial.stamps.unpopulated_ns.max(issued)) {
            (Some(Verdict::Empty { decided_ns, .. }), Some(end)) => seen.push(decided_ns.saturating_sub(end)),
            (Some(Verdict::DeadlinePassed { .. }), Some(_)) => *censored += 1,
            _ => {}
        }
    }
    all.into_iter()
        .map(|(id, (seen, censored))| (id, Sample::new(seen, censored)))
        .collect()
}

/// How long after the first act each stage was reached.
fn stages(trials: &[&TrialRecord]) -> [Sample; STAGES.len()] {
    STAGES.map(|(_, reached)| {
        let emptied = trials.iter().filter(|t| t.outcome == Outcome::Emptied);
        let after = emptied.filter_map(|t| {
            let kill = t.kill.as_ref().filter(|kill| kill.begun_ns > 0)?;
            Some(reached(kill, &t.stamps)?.saturating_sub(kill.begun_ns))
        });
        Sample::new(after.collect(), 0)
    })
}

/// How many were born, if it was the same number in every trial.
fn population(trials: &[&TrialRecord]) -> Option<u64> {
    let births = trials.first()?.ledger.births;
    (births > 0 && trials.iter().all(|t| t.ledger.births == births)).then_some(u64::from(births))
}

/// Whether a strategy that claims to be sound was.
fn kept_its_word(trials: &[&TrialRecord]) -> bool {
    let claims = |t: &TrialRecord| {
        let strategy = t.strategy.as_deref().and_then(kill::by_id);
        strategy.is_some_and(|s| s.spec().claims_sound)
    };
    !trials.is_empty()
        && trials
            .iter()
            .all(|t| claims(t) && t.outcome == Outcome::Emptied && t.canaries_hit.is_empty())
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
        let held = reports().filter_map(|k| Some(k.held_ns?.saturating_sub(k.begun_ns)));
        figures.holding = Sample::new(held.collect(), 0);
        figures.knowing = knowing(trials);
        figures.stages = stages(trials);
        figures.sound = kept_its_word(trials);
        figures
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A strategy, whether it was sound, and for each size its only duration.
    type Sized<'a> = (&'a str, bool, &'a [(u64, u64)]);

    /// Rows of the kill plane.
    pub(in super::super) fn sized_rows(all: &[Sized<'_>]) -> Vec<Row> {
        let mut rows = Vec::new();
        for (strategy, sound, sizes) in all {
            rows.extend(sizes.iter().map(|(population, ns)| Row {
                key: RowKey {
                    plane: Plane::Kill,
                    scenario: format!("sleepers sleepers={population}"),
                    mechanism: (*strategy).to_owned(),
                },
                expected: String::new(),
                n: 1,
                outcomes: BTreeMap::from([(Outcome::Emptied, 1)]),
                held: 1,
                latency: Sample::new(vec![*ns], 0),
                wakeups: Sample::default(),
                cpu: Sample::default(),
                population: Some(*population),
                kill: KillFigures {
                    sound: *sound,
                    ..KillFigures::default()
                },
                broken: Vec::new(),
            }));
        }
        rows
    }
}
