//! Two campaigns with the same rows: what changed?

use harness_record::Plane;

use super::compare::Draws;
use super::{Campaign, Cell};
use crate::stats::{CENSORED, holm, interval, ratio, seed, stretch, unpaired};

/// A difference of medians within this share gets no word, within a campaign or between two,
/// however sure it is: two boots, or two loads of the host, differ by more.
pub const THRESHOLD: f64 = 0.10;

/// What differs between two campaigns.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// Name of the first.
    pub before: String,
    /// Name of the second.
    pub after: String,
    /// Runs of both.
    pub runs: Vec<String>,
    /// Rows that both have.
    pub rows: Vec<Change>,
    /// Rows that only one of them has.
    pub alone: Vec<String>,
}

/// One row in both.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Detect or kill.
    pub plane: Plane,
    /// Scenario and parameters.
    pub label: String,
    /// The mechanism.
    pub mechanism: String,
    /// Trials.
    pub n: [usize; 2],
    /// Trials that ended as expected.
    pub held: [usize; 2],
    /// Medians; [`CENSORED`] beyond the deadline, nothing without a latency.
    pub medians: [Option<u64>; 2],
    /// Second median by first.
    pub ratio: Option<f64>,
    /// Its interval; each campaign resampled by itself.
    pub interval: Option<(f64, f64)>,
    /// p-value of the permutation test on latencies, corrected over all rows.
    pub p_holm: Option<f64>,
    /// p-value of the permutation test on "ended as expected", corrected over all rows; nothing if
    /// that is the same in all trials of both.
    pub p_held: Option<f64>,
}

impl Diff {
    /// Of two campaigns.
    pub fn of(before: &Campaign<'_>, after: &Campaign<'_>) -> Self {
        let names = [before.dataset.name.clone(), after.dataset.name.clone()];
        let [mut draws_before, mut draws_after] =
            [before, after].map(|c| Draws::new(c.dataset, &c.cells, ""));
        let memory = |c: &Cell<'_>| {
            stretch(&crate::stats::ranks(
                &c.by_block.iter().map(|(_, v)| *v).collect::<Vec<_>>(),
            ))
        };
        let same = |a: &Cell<'_>, b: &Cell<'_>| {
            let key = |c: &Cell<'_>| {
                (
                    c.row.plane,
                    c.row.scenario.clone(),
                    c.row.params.clone(),
                    c.name(),
                )
            };
            key(a) == key(b)
        };
        let mut rows = Vec::new();
        let mut alone = Vec::new();
        for a in &before.cells {
            let Some(b) = after.cells.iter().find(|b| same(a, b)) else {
                alone.push(format!(
                    "{} on {} (in {} only)",
                    a.name(),
                    a.row.label,
                    names[0]
                ));
                continue;
            };
            let seed = seed(&[&names[0], &names[1], &a.row.label, &a.name()]);
            let held = |c: &Cell<'_>| {
                c.trials
                    .iter()
                    .map(|t| u64::from(t.held))
                    .collect::<Vec<_>>()
            };
            let values = |c: &Cell<'_>| c.by_block.iter().map(|(_, v)| *v).collect::<Vec<_>>();
            let medians = [a.latency.median(), b.latency.median()];
            let differ = a.row.held * b.row.n != b.row.held * a.row.n;
            rows.push(Change {
                plane: a.row.plane,
                label: a.row.label.clone(),
                mechanism: a.name(),
                n: [a.row.n, b.row.n],
                held: [a.row.held, b.row.held],
                medians,
                ratio: ratio(
                    medians[1].unwrap_or(CENSORED),
                    medians[0].unwrap_or(CENSORED),
                ),
                interval: interval(
                    &draws_after.of(memory(b)).medians(&b.by_block),
                    &draws_before.of(memory(a)).medians(&a.by_block),
                    ratio,
                ),
                p_holm: unpaired(&values(a), &values(b), seed),
                p_held: differ.then(|| unpaired(&held(a), &held(b), seed)).flatten(),
            });
        }
        for b in &after.cells {
            if !before.cells.iter().any(|a| same(a, b)) {
                alone.push(format!(
                    "{} on {} (in {} only)",
                    b.name(),
                    b.row.label,
                    names[1]
                ));
            }
        }
        correct(&mut rows, |row| &mut row.p_holm);
        correct(&mut rows, |row| &mut row.p_held);
        let [before_name, after_name] = names;
        Self {
            before: before_name,
            after: after_name,
            runs: before
                .dataset
                .runs
                .iter()
                .chain(&after.dataset.runs)
                .cloned()
                .collect(),
            rows,
            alone,
        }
    }

    /// Rows of which it is said that they changed.
    pub fn changed(&self) -> impl Iterator<Item = &Change> {
        self.rows.iter().filter(|row| row.is_change())
    }
}

impl Change {
    /// Whether a change may be claimed: chance is an unlikely explanation (5 % over all rows
    /// together), and the whole interval of the ratio lies beyond [`THRESHOLD`]; or the share of
    /// trials that ended as expected changed.
    pub fn is_change(&self) -> bool {
        let beyond =
            |(low, high): (f64, f64)| low > 1.0 + THRESHOLD || high < 1.0 / (1.0 + THRESHOLD);
        let slower = self.p_holm.is_some_and(|p| p < 0.05) && self.interval.is_some_and(beyond);
        slower || self.p_held.is_some_and(|p| p < 0.05)
    }
}

/// Holm's correction over those rows that have a p-value.
fn correct(rows: &mut [Change], p_of: fn(&mut Change) -> &mut Option<f64>) {
    let p_values: Vec<f64> = rows.iter_mut().filter_map(|row| *p_of(row)).collect();
    let mut corrected = holm(&p_values).into_iter();
    for row in rows {
        let p = p_of(row);
        if p.is_some() {
            *p = corrected.next();
        }
    }
}
