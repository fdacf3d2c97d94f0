//! The plan of a run: which rows, which trials of them, in which order. Pure, and recorded before
//! the first trial.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::detect::{self, AnyDetector, DETECTORS};
use harness::expect::{Expectation, KillExpectation, Plane};
use harness::host::{Host, ProbeError, Support, features};
use harness::kill::{self, AnyStrategy, STRATEGIES};
use harness::param::{self, Axis, ParamPoint};
use harness::trial::Expected;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::exit::Failure;
use super::measure::Shards;
use super::request::{Claim, Request};
use super::select::Unknown;
use super::skip::{self, Skip};
use super::subject::Subject;
use super::summary::RowKey;
use crate::{SCENARIOS, below_pid_1};

/// What this machine offers, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Offers {
    /// Detectors.
    pub detectors: BTreeMap<&'static str, Support>,
    /// Strategies.
    pub strategies: BTreeMap<&'static str, Support>,
    /// What scenarios need of the machine, by the name of the feature.
    pub features: BTreeMap<&'static str, Support>,
}

impl Offers {
    /// Asks every mechanism. A probe that fails is not "available"; the failure is reported.
    pub(super) fn of(host: &Host) -> Self {
        let answer = |probed: Result<Support, ProbeError>| {
            probed.unwrap_or_else(|e| {
                Support::missing(format!("the probe failed: {e}"), "see `scenario doctor`")
            })
        };
        Self {
            detectors: DETECTORS
                .iter()
                .map(|d| (d.spec().id, answer(d.probe(host))))
                .collect(),
            strategies: STRATEGIES
                .iter()
                .map(|s| (s.spec().id, answer(s.probe(host))))
                .collect(),
            features: SCENARIOS
                .iter()
                .flat_map(|scenario| below_pid_1(*scenario).needs())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(|need| match features::by_name(need) {
                    Ok(feature) => (*need, answer(feature.probe(host))),
                    Err(e) => (*need, Support::missing(e, "see `scenario doctor`")),
                })
                .collect(),
        }
    }
}

/// One row of the matrix: a pair, at one point of the axes.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    /// The workload.
    pub subject: Subject,
    /// The detectors: one, or in the kill plane several that take turns, block by block. Never
    /// empty.
    pub watchers: Vec<AnyDetector>,
    /// The strategy, in the kill plane.
    pub strategy: Option<AnyStrategy>,
    /// The values of all axes.
    pub params: ParamPoint,
    /// What is expected.
    pub expected: Expected,
    /// The name of the row.
    pub key: RowKey,
    /// Which of several identical rows, from 0.
    pub twin: u32,
    /// How long a trial of it takes, roughly and at most.
    pub cost: Duration,
}

impl Cell {
    /// How long a trial of it may take.
    pub(super) fn deadline(&self, request: &Request) -> Duration {
        use Expectation::{Early, MayBeEarly, Removed, Sound};
        match self.expected {
            Expected::Detect(Sound | Early(_) | MayBeEarly(_) | Removed(_)) => request.patience,
            Expected::Detect(_) | Expected::Kill(_) => request.deadline,
        }
    }

    /// The detector in `block`.
    pub(super) fn detector(&self, block: u32) -> AnyDetector {
        self.watchers[usize::try_from(block).map_or(0, |turn| turn % self.watchers.len())]
    }
}

/// One trial to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Its row.
    pub row: usize,
    /// Its complete block, from 0.
    pub block: u32,
    /// Its place in the whole campaign, from 0; a shard plays only some of these.
    pub seq: u32,
    /// Seed of its script: the same for all trials of a block.
    pub script_seed: u64,
}

/// A whole run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The rows.
    pub cells: Vec<Cell>,
    /// The trials, in order.
    pub order: Vec<Planned>,
    /// What is not run.
    pub skipped: Vec<Skip>,
}

impl Plan {
    /// The part of it that one machine plays: the blocks of its shards.
    pub(super) fn part(&self, shards: Option<&Shards>) -> Self {
        let mut part = self.clone();
        if let Some(shards) = shards {
            part.order.retain(|planned| shards.has(planned.block));
        }
        part
    }
}

/// Makes the plan.
pub(super) fn plan(request: &Request, offers: &Offers, drawn_seed: u64) -> Result<Plan, Failure> {
    let mut builder = Builder {
        request,
        used: BTreeSet::new(),
        axes: BTreeSet::new(),
        cells: Vec::new(),
        skipped: Vec::new(),
    };
    builder.detect_plane(offers)?;
    builder.kill_plane(offers)?;
    builder.every_axis_is_known()?;
    if builder.cells.is_empty() && request.claim != Claim::Any {
        return Err(Failure::usage(
            "--kill sound or unsound leaves no strategy for these scenarios",
        ));
    }
    let seed = request.seed.unwrap_or(drawn_seed);
    let costs: Vec<Duration> = builder.cells.iter().map(|cell| cell.cost).collect();
    Ok(Plan {
        seed,
        order: order(&costs, request.trials, request.budget.is_some(), seed),
        cells: builder.cells,
        skipped: skip::merged(builder.skipped),
    })
}

/// An expectation, with its reason.
pub(super) fn expected_in_words(expected: Expected) -> String {
    match expected {
        Expected::Detect(Expectation::Sound) => {
            "says \"empty\" when it is over, not before".to_owned()
        }
        Expected::Detect(Expectation::Early(why)) => format!("too early: {why}"),
        Expected::Detect(Expectation::MayBeEarly(why)) => format!("may be too early: {why}"),
        Expected::Detect(Expectation::NeverFires(why)) => format!("never says \"empty\": {why}"),
        Expected::Detect(Expectation::Removed(why)) => {
            format!("says that the site was removed: {why}")
        }
        Expected::Detect(Expectation::MayBeLost(why)) => format!("may never wake up: {why}"),
        Expected::Kill(KillExpectation::Empties) => "leaves nothing alive".to_owned(),
        Expected::Kill(KillExpectation::MaySurvive(why)) => format!("may leave survivors: {why}"),
        Expected::Kill(KillExpectation::Survives(why)) => format!("leaves survivors: {why}"),
        Expected::Detect(Expectation::SoundIfItEnds) => {
            "says \"empty\" when it is over, not before; it may not end".to_owned()
        }
        Expected::Detect(Expectation::Open(why)) => format!("no expectation: {why}"),
        Expected::Detect(Expectation::NotApplicable(why))
        | Expected::Kill(KillExpectation::NotApplicable(why)) => {
            format!("not applicable: {why}")
        }
    }
}

/// How long a trial takes, roughly and at most: as long as the tree lives, and until the deadline
/// where the end, or a survivor's death, is waited for in vain.
fn cost(expected: Expected, lives: Duration, deadline: Duration) -> Duration {
    /// Site, start and removal.
    const EACH: Duration = Duration::from_millis(50);
    EACH + match expected {
        Expected::Detect(
            Expectation::NeverFires(_)
            | Expectation::MayBeLost(_)
            | Expectation::SoundIfItEnds
            | Expectation::Open(_),
        ) => deadline * 2,
        Expected::Detect(_) => lives,
        Expected::Kill(KillExpectation::Empties) => Duration::ZERO,
        Expected::Kill(_) => deadline,
    }
}

/// Complete blocks, each in an order of its own, so that drift of the machine affects all rows
/// alike. With a budget what costs least comes first, so that the budget covers as many rows as it
/// can; among equals the order is random.
fn order(costs: &[Duration], trials: u32, cheap_first: bool, seed: u64) -> Vec<Planned> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows: Vec<usize> = (0..costs.len()).collect();
    let mut order = Vec::new();
    for block in 0..trials {
        rows.shuffle(&mut rng);
        if cheap_first {
            rows.sort_by_key(|row| costs[*row]);
        }
        let script_seed = rng.next_u64();
        for row in &rows {
            order.push(Planned {
                row: *row,
                block,
                seq: u32::try_from(order.len()).unwrap_or(u32::MAX),
                script_seed,
            });
        }
    }
    order
}

struct Builder<'a> {
    request: &'a Request,
    /// The axes of `--set` that some row has.
    used: BTreeSet<&'a str>,
    /// Axes that some row has.
    axes: BTreeSet<&'static str>,
    cells: Vec<Cell>,
    skipped: Vec<Skip>,
}

impl<'a> Builder<'a> {
    fn detect_plane(&mut self, offers: &Offers) -> Result<(), Failure> {
        let watched = self.request.watched.clone();
        if watched.is_empty() {
            return Ok(());
        }
        let selection = &self.request.detectors;
        let mut available = Vec::new();
        for id in &selection.ids {
            let named = selection.by_name.contains(id);
            if self.offered(id, &offers.detectors, named, watched.len())? {
                available.extend(detect::by_id(id));
            }
        }
        for scenario in watched {
            if !self.playable(&scenario, offers, available.len()) {
                continue;
            }
            for detector in &available {
                self.rows(&scenario, std::slice::from_ref(detector), None)?;
            }
        }
        Ok(())
    }

    fn kill_plane(&mut self, offers: &Offers) -> Result<(), Failure> {
        let killed = self.request.killed.clone();
        if killed.is_empty() {
            return Ok(());
        }
        let selection = &self.request.references;
        let mut watchers = Vec::new();
        for id in &selection.ids {
            // Without a reference there are no fewer rows.
            if self.offered(id, &offers.detectors, selection.by_name.contains(id), 0)? {
                watchers.extend(detect::by_id(id));
            }
        }
        if watchers.is_empty() {
            return Err(Failure::missing(anyhow::anyhow!(
                "kills cannot be watched here: {} are not available; `scenario doctor` says why",
                selection.ids.join(", ")
            )));
        }
        let selection = &self.request.strategies;
        let mut available = Vec::new();
        for id in &selection.ids {
            let named = selection.by_name.contains(id);
            if self.offered(id, &offers.strategies, named, killed.len())? {
                available.extend(kill::by_id(id));
            }
        }
        for scenario in killed {
            if !self.playable(&scenario, offers, available.len()) {
                continue;
            }
            for strategy in &available {
                self.rows(&scenario, &watchers, Some(*strategy))?;
            }
        }
        Ok(())
    }

    /// Whether it can be played, and this machine has what it needs. If not, that is a remark on
    /// `rows` rows.
    fn playable(&mut self, subject: &Subject, offers: &Offers, rows: usize) -> bool {
        let missing = subject
            .needs()
            .iter()
            .find_map(|need| match offers.features.get(need) {
                Some(Support::Missing { why, remedy }) => Some((why.clone(), Some(remedy.clone()))),
                Some(Support::Available) | None => None,
            });
        let unfit = subject.unfit().map(|why| (why.to_owned(), None));
        let Some((why, remedy)) = unfit.or(missing) else {
            return true;
        };
        self.skipped.push(Skip {
            mechanism: "every mechanism".to_owned(),
            scenario: Some(subject.id().to_owned()),
            why,
            remedy,
            rows,
        });
        false
    }

    /// Whether this machine offers `id`. If not, that is a remark on `rows` rows, or an error where
    /// it is `required`.
    fn offered(
        &mut self,
        id: &str,
        offers: &BTreeMap<&str, Support>,
        required: bool,
        rows: usize,
    ) -> Result<bool, Failure> {
        match offers.get(id) {
            Some(Support::Available) => Ok(true),
            Some(Support::Missing { why, remedy }) if required => Err(Failure::missing(
                anyhow::anyhow!("{id} is not available here: {why}; {remedy}"),
            )),
            Some(Support::Missing { why, remedy }) => {
                self.skipped.push(Skip {
                    mechanism: id.to_owned(),
                    scenario: None,
                    why: why.clone(),
                    remedy: Some(remedy.clone()),
                    rows,
                });
                Ok(false)
            }
            None => Err(anyhow::anyhow!("{id} was not probed").into()),
        }
    }

    /// Adds a row for each combination of the values that were set.
    fn rows(
        &mut self,
        subject: &Subject,
        watchers: &[AnyDetector],
        strategy: Option<AnyStrategy>,
    ) -> Result<(), Failure> {
        let plane = if strategy.is_some() {
            Plane::Kill
        } else {
            Plane::Detect
        };
        let of_scenario = subject.axes();
        let mut of_mechanism: Vec<&'static Axis> =
            watchers.iter().flat_map(|d| d.spec().axes).collect();
        of_mechanism.extend(strategy.iter().flat_map(|s| s.spec().axes));
        let axes: Vec<&'static Axis> = of_scenario
            .iter()
            .chain(of_mechanism.iter().copied())
            .collect();
        self.axes.extend(axes.iter().map(|axis| axis.name));

        let mut points = vec![(
            param::defaults(axes.iter().copied(), plane),
            String::new(),
            String::new(),
        )];
        for (name, values) in &self.request.sets {
            let Some(axis) = axes.iter().copied().find(|axis| axis.name == name) else {
                continue;
            };
            self.used.insert(name);
            let of_scenario = of_scenario.iter().any(|a| a.name == name);
            let mut next = Vec::new();
            for (point, scenario_label, mechanism_label) in &points {
                for value in values {
                    let value = axis.parse(value).map_err(Failure::usage)?;
                    let mut row = (
                        point.clone(),
                        scenario_label.clone(),
                        mechanism_label.clone(),
                    );
                    row.0.set(axis, value);
                    let label = if of_scenario { &mut row.1 } else { &mut row.2 };
                    label.push_str(&format!(" {name}={}", axis.format(value)));
                    next.push(row);
                }
            }
            points = next;
        }
        for (params, scenario_label, mechanism_label) in points {
            let mechanism = strategy.map_or(watchers[0].spec().id, |s| s.spec().id);
            let key = RowKey {
                plane,
                scenario: format!("{}{scenario_label}", subject.id()),
                mechanism: format!("{mechanism}{mechanism_label}"),
            };
            self.row(subject, watchers, strategy, params, key)?;
        }
        Ok(())
    }

    fn row(
        &mut self,
        subject: &Subject,
        watchers: &[AnyDetector],
        strategy: Option<AnyStrategy>,
        params: ParamPoint,
        key: RowKey,
    ) -> Result<(), Failure> {
        let lives = subject.check(self.request, &key.scenario, key.plane, &params)?;
        let expected = subject.expected(&params, watchers[0], strategy);
        if let Expected::Detect(Expectation::NotApplicable(why))
        | Expected::Kill(KillExpectation::NotApplicable(why)) = expected
        {
            self.skipped.push(Skip {
                mechanism: key.mechanism,
                scenario: Some(key.scenario),
                why: why.to_owned(),
                remedy: None,
                rows: 1,
            });
            return Ok(());
        }
        if let (Some(strategy), Expected::Kill(expected)) = (strategy, expected)
            && !self.request.claim.admits(strategy.spec(), expected)
        {
            return Ok(());
        }
        let id = strategy.map_or(watchers[0].spec().id, |s| s.spec().id);
        let twice = self.request.twins.contains(&id);
        for twin in 0..=u32::from(twice) {
            let mut key = key.clone();
            if twin > 0 {
                key.mechanism.push_str(" (twin)");
            }
            self.cells.push(Cell {
                subject: subject.clone(),
                watchers: watchers.to_vec(),
                strategy,
                params: params.clone(),
                expected,
                key,
                twin,
                cost: cost(expected, lives, self.request.deadline),
            });
        }
        Ok(())
    }

    fn every_axis_is_known(&self) -> Result<(), Failure> {
        let known: Vec<&str> = self.axes.iter().copied().collect();
        match self
            .request
            .sets
            .iter()
            .find(|(name, _)| !self.used.contains(name.as_str()))
        {
            None => Ok(()),
            Some((name, _)) => Err(Failure::usage(format!(
                "{} (of the scenarios, detectors and strategies that take part)",
                Unknown::new("axis", name, &known)
            ))),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
