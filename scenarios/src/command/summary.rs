//! The sums of recorded trials, row by row: a pure function of the plan's rows and the records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::expect::{Canary, Plane};
use harness::kill;
use harness::record::{
    Cause, Elapsed, KillReport, KillTimes, Outcome, Stamps, TrialRecord, Verdict,
};
use serde::Serialize;

use super::costs::{CostTally, Costs};
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
    /// Detect plane: end of the workload to decision. Kill plane: from the decision to kill to the
    /// oracle's `populated 0`. Strategies are ranked by it, and all are cut off at the same time
    /// after the decision.
    pub latency: Sample,
    /// Of a program, instead of the latency, of which only bounds are known.
    pub between: Bounds,
    /// Returns from a sleep.
    pub wakeups: Sample,
    /// CPU time of the observer between arm and disarm.
    pub cpu: Sample,
    /// Births, if their number was the same in each trial: then the row is about a set of known
    /// size.
    pub population: Option<u64>,
    /// Other costs of the detector.
    pub costs: Costs,
    /// Kill plane only.
    pub kill: KillFigures,
    /// The trials that did not end as expected.
    pub broken: Vec<Broken>,
}

/// Bounds of a latency, trial by trial.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    /// It was at least this.
    pub least: Sample,
    /// It was at most this.
    pub most: Sample,
}

/// The part that only the kill plane has.
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
    /// Whether the strategy claims to be sound and was: all emptied, no outsider hit.
    pub sound: bool,
    /// The first part of [`Row::latency`]: from the decision to the first signal.
    pub holding: Sample,
    /// The second part: from the first signal to the oracle's `populated 0`.
    pub dying: Sample,
    /// What comes after it, for each detector that watched: from the oracle's `populated 0` (or the
    /// return of a strategy that takes longer) to its verdict. The oracle looks every
    /// [`RESOLUTION_NS`], so shorter times are not known.
    pub knowing: BTreeMap<String, Sample>,
    /// From the first act to each of [`STAGES`], in trials that emptied the set.
    pub stages: [Sample; STAGES.len()],
    /// Reasons of survivors, with the number of processes.
    pub reasons: BTreeMap<String, usize>,
    /// What strategies did instead of what their name says, by kind, with the number of trials.
    pub fallbacks: BTreeMap<&'static str, usize>,
}

/// A stage of a kill: what it is called, and when it was reached.
type Stage = (&'static str, fn(&KillReport, &Stamps) -> Option<u64>);

/// The stages of a kill, each with when it was reached. The order is that of `cgroup-kill`; others
/// may have the end before the last signal.
pub(super) const STAGES: [Stage; 7] = [
    ("held", |kill, _| kill.held_ns),
    ("first signal", |kill, _| {
        Some(kill.first_signal_ns).filter(|at| *at > 0)
    }),
    ("last signal", |kill, _| {
        Some(kill.last_signal_ns).filter(|at| *at > 0)
    }),
    ("issued", |kill, _| Some(kill.issued_ns)),
    ("populated 0", |_, stamps| stamps.unpopulated_ns),
    ("all reaped", |_, stamps| stamps.reaped_ns),
    ("rmdir", |_, stamps| stamps.removed_ns),
];

/// How often the oracle looks while a kill is going on: a shorter time between `populated 0` and
/// something else is not known.
pub(super) const RESOLUTION_NS: u64 = 200_000;

/// A trial that did not end as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Broken {
    /// Its number in the run.
    pub seq: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it broke, by kind, if it did.
    pub cause: Option<Cause>,
    /// The harness's note.
    pub note: Option<String>,
}

/// Sums a row up, trial by trial. What it keeps of a trial are a few numbers, so that a campaign of
/// any length fits into memory.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    row: Row,
    deadline_ns: u64,
    latency: Values,
    least: Values,
    most: Values,
    wakeups: Values,
    cpu: Values,
    births: Option<u32>,
    costs: CostTally,
    signals: Values,
    passes: Values,
    holding: Values,
    dying: Values,
    knowing: BTreeMap<String, Values>,
    stages: [Values; STAGES.len()],
}

/// A sample that still grows.
#[derive(Clone, Debug, Default)]
struct Values {
    seen: Vec<u64>,
    censored: usize,
}

impl Values {
    fn add(&mut self, elapsed: Option<Elapsed>) {
        match elapsed {
            Some(Elapsed::Ns(ns)) => self.seen.push(ns),
            Some(Elapsed::Beyond) => self.censored += 1,
            None => {}
        }
    }

    fn sample(self) -> Sample {
        Sample::new(self.seen, self.censored)
    }
}

impl Tally {
    /// Of no trials yet, in a run that allows each of them so much time.
    pub(super) fn new(key: RowKey, expected: String, deadline: Duration) -> Self {
        Self {
            deadline_ns: u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX),
            row: Row {
                key,
                expected,
                n: 0,
                outcomes: BTreeMap::new(),
                held: 0,
                latency: Sample::default(),
                between: Bounds::default(),
                wakeups: Sample::default(),
                cpu: Sample::default(),
                population: None,
                costs: Costs::default(),
                kill: KillFigures::default(),
                broken: Vec::new(),
            },
            latency: Values::default(),
            least: Values::default(),
            most: Values::default(),
            wakeups: Values::default(),
            cpu: Values::default(),
            births: None,
            costs: CostTally::default(),
            signals: Values::default(),
            passes: Values::default(),
            holding: Values::default(),
            dying: Values::default(),
            knowing: BTreeMap::new(),
            stages: Default::default(),
        }
    }

    /// Adds a trial of the row.
    pub(super) fn add(&mut self, trial: &TrialRecord) {
        let first = self.row.judged() == 0;
        let row = &mut self.row;
        row.n += 1;
        *row.outcomes.entry(trial.outcome).or_insert(0) += 1;
        match trial.held {
            true => row.held += 1,
            false => row.broken.push(Broken::new(trial)),
        }
        if matches!(trial.outcome, Outcome::Broken | Outcome::Interrupted) {
            // The trial says nothing about the mechanism, so it is part of no figure.
            return;
        }
        let births = Some(trial.ledger.births).filter(|births| *births > 0);
        self.births = births.filter(|_| first || self.births == births);
        let times = KillTimes::of(trial, self.deadline_ns);
        match trial.program {
            None => self.latency.add(match row.key.plane {
                Plane::Detect => detect_latency(trial),
                Plane::Kill => times.to_empty,
            }),
            Some(_) => {
                let bounds = latency_bounds(trial);
                self.least.seen.extend(bounds.map(|(least, _)| least));
                self.most.seen.extend(bounds.map(|(_, most)| most));
            }
        }
        self.wakeups.seen.push(trial.counters.wakeups);
        self.cpu.seen.extend(trial.cpu_ns);
        self.costs.add(trial);
        row.kill.add(trial, first);
        if let Some(kill) = &trial.kill {
            self.signals.seen.push(kill.signals);
            self.passes.seen.push(kill.passes);
            self.holding.seen.extend(times.holding_ns);
            self.dying.seen.extend(times.dying_ns);
            if trial.outcome == Outcome::Emptied {
                self.knowing
                    .entry(trial.detector.clone())
                    .or_default()
                    .add(times.knowing);
                self.add_stages(trial, kill);
            }
        }
    }

    /// Adds when each stage of a kill that left nothing alive was reached.
    fn add_stages(&mut self, trial: &TrialRecord, kill: &KillReport) {
        if kill.begun_ns > 0 {
            for (values, (_, reached)) in self.stages.iter_mut().zip(STAGES) {
                let at = reached(kill, &trial.stamps);
                values
                    .seen
                    .extend(at.map(|at| at.saturating_sub(kill.begun_ns)));
            }
        }
    }

    /// The sums.
    pub(super) fn row(self) -> Row {
        let knowing = self.knowing.into_iter();
        Row {
            latency: self.latency.sample(),
            between: Bounds {
                least: self.least.sample(),
                most: self.most.sample(),
            },
            wakeups: self.wakeups.sample(),
            cpu: self.cpu.sample(),
            population: self.births.map(u64::from),
            costs: self.costs.costs(),
            kill: KillFigures {
                signals: self.signals.sample(),
                passes: self.passes.sample(),
                holding: self.holding.sample(),
                dying: self.dying.sample(),
                knowing: knowing.map(|(id, values)| (id, values.sample())).collect(),
                stages: self.stages.map(Values::sample),
                ..self.row.kill
            },
            ..self.row
        }
    }
}

impl Row {
    /// How many trials ended so.
    pub(super) fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// How many trials have a valid result. A broken trial says nothing about its mechanism, and
    /// neither does an interrupted one.
    pub(super) fn judged(&self) -> usize {
        self.n - self.count(Outcome::Broken) - self.count(Outcome::Interrupted)
    }

    /// How many trials ended otherwise than expected.
    pub(super) fn failed(&self) -> usize {
        self.judged().saturating_sub(self.held)
    }
}

impl Broken {
    fn new(trial: &TrialRecord) -> Self {
        Self {
            seq: trial.seq,
            outcome: trial.outcome,
            cause: trial.cause,
            note: trial.note.as_ref().map(ToString::to_string),
        }
    }
}

/// From the lower bound of the end to the decision. A miss is censored; a trial without a right
/// verdict has no latency.
fn detect_latency(trial: &TrialRecord) -> Option<Elapsed> {
    if trial.outcome == Outcome::Missed {
        return Some(Elapsed::Beyond);
    }
    let at = match (trial.outcome, &trial.verdict) {
        (Outcome::Right, Some(Verdict::Empty { decided_ns, .. })) => *decided_ns,
        (Outcome::Removed, Some(Verdict::SiteRemoved { at_ns })) => *at_ns,
        _ => return None,
    };
    Some(Elapsed::Ns(at.saturating_sub(trial.stamps.over_lower_ns?)))
}

/// Bounds of the time from the end of a program to a verdict, or from the decision to kill it to
/// its end: the end is only known to lie in an interval.
fn latency_bounds(trial: &TrialRecord) -> Option<(u64, u64)> {
    let (lower, upper) = (trial.stamps.over_lower_ns?, trial.stamps.over_upper_ns?);
    match (&trial.verdict, &trial.kill, trial.outcome) {
        (_, Some(kill), Outcome::Emptied) => {
            let decision = trial.stamps.ready_ns.unwrap_or(kill.begun_ns);
            let since = |at: u64| at.saturating_sub(decision);
            Some((since(lower), since(upper)))
        }
        (Some(Verdict::Empty { decided_ns, .. }), None, Outcome::Right | Outcome::CannotTell) => {
            Some((
                decided_ns.saturating_sub(upper),
                decided_ns.saturating_sub(lower),
            ))
        }
        _ => None,
    }
}

/// Whether a strategy that claims to be sound was.
fn kept_its_word(trial: &TrialRecord) -> bool {
    let strategy = trial.strategy.as_deref().and_then(kill::by_id);
    let claims = strategy.is_some_and(|s| s.spec().claims_sound);
    claims && trial.outcome == Outcome::Emptied && trial.canaries_hit.is_empty()
}

impl KillFigures {
    fn add(&mut self, trial: &TrialRecord, first: bool) {
        self.sound = kept_its_word(trial) && (first || self.sound);
        self.survivors_max = self.survivors_max.max(trial.survivors.len());
        for canary in &trial.canaries_hit {
            *self.canaries.entry(*canary).or_default() += 1;
        }
        for survivor in &trial.survivors {
            *self.reasons.entry(survivor.reason.clone()).or_default() += 1;
        }
        let fallbacks = trial.kill.iter().flat_map(|report| &report.fallbacks);
        let kinds: BTreeSet<&str> = fallbacks.map(|fallback| fallback.kind.name()).collect();
        for kind in kinds {
            *self.fallbacks.entry(kind).or_default() += 1;
        }
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
                between: Bounds::default(),
                wakeups: Sample::default(),
                cpu: Sample::default(),
                costs: Costs::default(),
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
