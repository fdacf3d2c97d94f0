//! All trials of one row of a plan, and their figures.

use std::collections::BTreeMap;

use harness_record::Plane;
use harness_record::Verdict;
use harness_record::{Elapsed, KillTimes, Outcome, TrialRecord};

use super::Comparison;
use crate::stats::{Bound, CENSORED, Quantile, Sample};
use crate::store::Dataset;
use crate::summary::{Knowing, Row};

/// A row, with the trials behind it.
#[derive(Clone, Debug)]
pub struct Cell<'s> {
    /// Its figures.
    pub row: Row,
    /// What was expected, in words.
    pub expected: String,
    /// Its trials, in the order in which they were run.
    pub trials: Vec<&'s TrialRecord>,
    /// Their latencies.
    pub latency: Sample,
    /// Axes of the mechanism that tell it from other rows of its name at the same point: `
    /// interval=1000000`. Mostly empty.
    pub variant: String,
    /// Block and latency of each trial that has one; [`CENSORED`] where it lies beyond the
    /// deadline.
    pub by_block: Vec<(usize, u64)>,
}

/// What makes a row one, in the order of tables. In the kill plane detectors take turns within a
/// row, so there the detector is empty.
type Key<'s> = (
    Plane,
    &'s str,
    &'s BTreeMap<String, u64>,
    &'s str,
    Option<&'s str>,
    u32,
);

impl<'s> Cell<'s> {
    /// All cells of a dataset, sorted by plane, label and median.
    pub(super) fn all(dataset: &'s Dataset) -> Vec<Self> {
        let mut rows: BTreeMap<Key<'s>, Vec<&'s TrialRecord>> = BTreeMap::new();
        for t in &dataset.trials {
            let detector = match t.plane {
                Plane::Detect => t.detector.as_str(),
                Plane::Kill => "",
            };
            let key = (
                t.plane,
                t.scenario.as_str(),
                &t.params,
                detector,
                t.strategy.as_deref(),
                t.twin,
            );
            rows.entry(key).or_default().push(t);
        }
        let mut cells: Vec<Self> = rows
            .into_iter()
            .map(|(key, trials)| Self::new(dataset, key, trials))
            .collect();
        // By the values of those axes that all rows of a scenario have, so that 10 ms comes after 5
        // ms and no axis of a mechanism splits a scenario; then by median. The sort is stable, and
        // the rest is the order of the keys.
        let mut shared: BTreeMap<(Plane, String), Vec<String>> = BTreeMap::new();
        for cell in &cells {
            let own = || cell.row.params.keys().cloned().collect();
            let axes = shared
                .entry((cell.row.plane, cell.row.scenario.clone()))
                .or_insert_with(own);
            axes.retain(|axis| cell.row.params.contains_key(axis));
        }
        cells.sort_by_cached_key(|cell| {
            let (plane, scenario) = (cell.row.plane, cell.row.scenario.clone());
            let axes = shared.get(&(plane, scenario.clone())).into_iter().flatten();
            let point: Vec<u64> = axes.map(|axis| cell.row.params[axis]).collect();
            (plane, scenario, point, cell.latency.median())
        });
        tell_variants_apart(&mut cells);
        cells
    }

    fn new(dataset: &Dataset, key: Key<'s>, trials: Vec<&'s TrialRecord>) -> Self {
        let (plane, scenario, params, detector, strategy, twin) = key;
        let planned = dataset.plan.rows.iter().find(|row| {
            (row.plane, row.scenario.as_str()) == (plane, scenario)
                && (row.plane == Plane::Kill || row.detector == detector)
                && (row.strategy.as_deref(), row.twin) == (strategy, twin)
                && row.params == *params
        });
        let by_block: Vec<(usize, u64)> = trials
            .iter()
            .enumerate()
            .filter_map(|(at, trial)| {
                let block = trial
                    .block
                    .and_then(|block| usize::try_from(block).ok())
                    .unwrap_or(at);
                Some((block, latency(trial, dataset.deadline_ns())?))
            })
            .collect();
        let sample = Sample::new(by_block.iter().map(|(_, latency)| *latency).collect());
        let count = |outcomes: &[Outcome]| {
            trials
                .iter()
                .filter(|t| outcomes.contains(&t.outcome))
                .count()
        };
        // A broken trial says nothing about the mechanism: it is counted, and is in no share.
        let broken = count(&[Outcome::Broken, Outcome::Interrupted]);
        let n = trials.len() - broken;
        let (right, early, missed) = (
            count(&[Outcome::Right, Outcome::Removed]),
            count(&[Outcome::Early]),
            count(&[Outcome::Missed]),
        );
        let (emptied, survived) = (count(&[Outcome::Emptied]), count(&[Outcome::Survived]));
        let [p50, p90, p99, p999] = [500, 900, 990, 999].map(|permille| sample.quantile(permille));
        let at = |q: Option<Quantile>| q.and_then(|q| q.at.value());
        let ci = |q: Option<Quantile>| q.map_or([None, None], |q| [q.low.value(), q.high.value()]);
        let median = |figure: &dyn Fn(&TrialRecord) -> Option<u64>| {
            let whole = trials.iter().filter(|t| !is_broken(t));
            Sample::new(whole.filter_map(|t| figure(t)).collect()).median()
        };
        let times = |t: &TrialRecord| KillTimes::of(t, dataset.deadline_ns());
        let mut canaries_hit = BTreeMap::new();
        for canary in trials.iter().flat_map(|t| &t.canaries_hit) {
            *canaries_hit.entry(canary.to_string()).or_default() += 1;
        }
        let row = Row {
            dataset: dataset.name.clone(),
            plane,
            scenario: scenario.to_owned(),
            label: planned.map_or_else(|| label(scenario, params), |row| row.label.clone()),
            params: params.clone(),
            detector: trials
                .first()
                .map_or_else(String::new, |t| t.detector.clone()),
            strategy: strategy.map(str::to_owned),
            twin,
            n,
            broken,
            held: trials.iter().filter(|t| t.held && !is_broken(t)).count(),
            right,
            early,
            missed,
            emptied,
            survived,
            other: n - right - early - missed - emptied - survived,
            p50_ns: at(p50),
            p50_ci: ci(p50),
            p90_ns: at(p90),
            p90_ci: ci(p90),
            p99_ns: at(p99),
            p99_ci: ci(p99),
            p999_ns: at(p999),
            p999_ci: ci(p999),
            max_ns: sample
                .max()
                .value()
                .or_else(|| sample.seen().last().copied()),
            outliers: sample.outliers(),
            reference: None,
            ratio_to_waitpid: None,
            ratio: None,
            ratio_ci: [None, None],
            difference_ns: None,
            difference_ci: [None, None],
            p_holm: None,
            word: None,
            launch_ns: median(&|t| {
                let asked = Some(t.counters.asked_ns)
                    .filter(|ns| *ns > 0)
                    .or(t.stamps.spawn_ns)?;
                t.stamps.running_ns?.checked_sub(asked)
            }),
            prepare_ns: median(&|t| Some(t.counters.prepare_ns)).filter(|ns| *ns > 0),
            cpu_ns: median(&|t| t.cpu_ns),
            wakeups: median(&|t| Some(t.counters.wakeups)),
            idle_cpu_ns: median(&|t| Some(t.idle?.cpu_ns_per_s())),
            idle_wakeups: median(&|t| Some(t.idle?.wakeups)),
            survivors_max: trials.iter().map(|t| t.survivors.len()).max().unwrap_or(0),
            canaries_hit,
            knowing: knowing(&trials, dataset.deadline_ns()),
            births: trials
                .iter()
                .find(|t| !is_broken(t))
                .map(|t| u64::from(t.ledger.births))
                .filter(|births| {
                    let mut whole = trials.iter().filter(|t| !is_broken(t));
                    *births > 0 && whole.all(|t| u64::from(t.ledger.births) == *births)
                }),
            held_ns: median(&|t| {
                let kill = t.kill.as_ref()?;
                kill.held_ns?.checked_sub(kill.begun_ns)
            }),
            signals: median(&|t| Some(t.kill.as_ref()?.signals)),
            holding_ns: median(&|t| times(t).holding_ns),
            dying_ns: median(&|t| times(t).dying_ns),
        };
        Self {
            row,
            expected: planned.map_or_else(String::new, |row| row.expected.clone()),
            trials,
            latency: sample,
            variant: String::new(),
            by_block,
        }
    }

    /// The detector; in the kill plane the strategy.
    pub fn mechanism(&self) -> &str {
        self.row.strategy.as_deref().unwrap_or(&self.row.detector)
    }

    /// The mechanism, told apart from its variants and twins.
    pub fn name(&self) -> String {
        match self.row.twin {
            0 => format!("{}{}", self.mechanism(), self.variant),
            twin => format!("{}{} (twin {twin})", self.mechanism(), self.variant),
        }
    }

    /// Trials with the desired outcome: right, or nothing left alive.
    pub fn good(&self) -> usize {
        match self.row.plane {
            Plane::Detect => self.row.right,
            Plane::Kill => self.row.emptied,
        }
    }

    /// Same plane, scenario and parameters. Axes that belong to a mechanism rather than to the
    /// scenario stand in `params` too, and may differ.
    pub fn same_point(&self, other: &Self) -> bool {
        let shared = |name: &String| other.row.params.contains_key(name);
        self.row.plane == other.row.plane
            && self.row.scenario == other.row.scenario
            && self
                .row
                .params
                .iter()
                .filter(|(name, _)| shared(name))
                .all(|(name, v)| other.row.params[name] == *v)
    }

    /// The median, which may lie beyond the deadline.
    pub fn median(&self) -> Bound {
        self.latency.quantile(500).map_or(Bound::Open, |q| q.at)
    }

    pub(super) fn blocks(&self) -> usize {
        self.by_block
            .iter()
            .map(|(block, _)| block + 1)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn compared_with(&mut self, comparison: &Comparison) {
        let finite = |value: f64| Some(value).filter(|v| v.is_finite());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "nanoseconds between two deadlines"
        )]
        let whole = |ns: f64| ns as i64;
        self.row.reference = Some(comparison.with.clone());
        self.row.ratio = comparison.ratio.and_then(finite);
        self.row.ratio_ci = comparison
            .interval
            .map_or([None, None], |(low, high)| [finite(low), finite(high)]);
        self.row.difference_ns = comparison.difference.map(whole);
        self.row.difference_ci = comparison
            .difference_interval
            .map_or([None, None], |(low, high)| {
                [Some(whole(low)), Some(whole(high))]
            });
        self.row.ratio_to_waitpid = self.row.ratio.filter(|_| comparison.with == "waitpid-main");
        self.row.p_holm = Some(comparison.p_holm);
        self.row.word = Some(comparison.word);
    }
}

fn is_broken(trial: &TrialRecord) -> bool {
    matches!(trial.outcome, Outcome::Broken | Outcome::Interrupted)
}

/// Names the axes that distinguish rows of the same plane, label, mechanism and twin.
fn tell_variants_apart(cells: &mut [Cell<'_>]) {
    let mut seen: BTreeMap<(Plane, String, String, u32), Vec<usize>> = BTreeMap::new();
    for (at, cell) in cells.iter().enumerate() {
        let key = (
            cell.row.plane,
            cell.row.label.clone(),
            cell.mechanism().to_owned(),
            cell.row.twin,
        );
        seen.entry(key).or_default().push(at);
    }
    for group in seen.into_values().filter(|group| group.len() > 1) {
        let first = cells[group[0]].row.params.clone();
        let differs = |axis: &String| {
            group
                .iter()
                .any(|at| cells[*at].row.params.get(axis) != first.get(axis))
        };
        let axes: Vec<String> = first.keys().filter(|axis| differs(axis)).cloned().collect();
        for at in group {
            let params = &cells[at].row.params;
            let words = axes
                .iter()
                .filter_map(|axis| Some(format!(" {axis}={}", params.get(axis)?)));
            cells[at].variant = words.collect();
        }
    }
}

/// Detect: from the lower bound of the end to the verdict; a miss is censored. In an open loop the
/// wait for a busy harness counts too. Kill: from the decision to the oracle's first `populated 0`;
/// survivors censor it, and so does an end after the deadline. A trial that ended otherwise has no
/// latency.
pub(crate) fn latency(trial: &TrialRecord, deadline_ns: u64) -> Option<u64> {
    let late = trial
        .stamps
        .intended_ns
        .zip(trial.stamps.spawn_ns)
        .map_or(0, |(meant, was)| was.saturating_sub(meant));
    match trial.outcome {
        Outcome::Right | Outcome::Removed => {
            Some(said_at(trial)?.saturating_sub(trial.stamps.over_lower_ns?) + late)
        }
        Outcome::Emptied | Outcome::Survived => KillTimes::of(trial, deadline_ns)
            .to_empty
            .map(|all| all.ns().unwrap_or(CENSORED)),
        Outcome::Missed => Some(CENSORED),
        _ => None,
    }
}

/// An end that was known sooner than this was known at once: the oracle, which says when the end
/// was, looks every 200 us.
pub const LATE_NS: u64 = 1_000_000;

/// Kill plane: how often each detector that watched knew of the end later than [`LATE_NS`].
fn knowing(trials: &[&TrialRecord], deadline_ns: u64) -> BTreeMap<String, Knowing> {
    let mut all: BTreeMap<String, Knowing> = BTreeMap::new();
    for trial in trials {
        let Some(lag) = KillTimes::of(trial, deadline_ns).knowing else {
            continue;
        };
        let knowing = all.entry(trial.detector.clone()).or_default();
        knowing.n += 1;
        knowing.late += usize::from(match lag {
            Elapsed::Ns(ns) => ns > LATE_NS,
            Elapsed::Beyond => true,
        });
        knowing.never += usize::from(lag == Elapsed::Beyond);
    }
    all
}

/// The time of the verdict.
fn said_at(trial: &TrialRecord) -> Option<u64> {
    match trial.verdict.as_ref()? {
        Verdict::Empty { decided_ns, .. } => Some(*decided_ns),
        Verdict::SiteRemoved { at_ns }
        | Verdict::Unknown { at_ns, .. }
        | Verdict::DeadlinePassed { at_ns } => Some(*at_ns),
    }
}

/// For rows that no plan names.
fn label(scenario: &str, params: &BTreeMap<String, u64>) -> String {
    let mut label = scenario.to_owned();
    for (name, value) in params {
        label.push_str(&format!(" {name}={value}"));
    }
    label
}
