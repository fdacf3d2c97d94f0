//! Two rows of one campaign, block by block.

use std::collections::BTreeMap;

use super::{Cell, THRESHOLD};
use crate::stats::{
    CENSORED, Resampling, Sample, difference, differences, holm, interval, paired, ratio, seed,
    stretch,
};
use crate::store::Dataset;
use crate::summary::Word;

/// One row compared with another of the same blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Scenario and parameters.
    pub label: String,
    /// The mechanism.
    pub of: String,
    /// What it is compared with.
    pub with: String,
    /// Blocks in which both have a latency.
    pub blocks: usize,
    /// Blocks in a row that were drawn and permuted together.
    pub stretch: usize,
    /// Median by median; infinite if only the first lies beyond the deadline.
    pub ratio: Option<f64>,
    /// Its bootstrap interval.
    pub interval: Option<(f64, f64)>,
    /// Median less median, in nanoseconds.
    pub difference: Option<f64>,
    /// Its bootstrap interval.
    pub difference_interval: Option<(f64, f64)>,
    /// p-value of the permutation test.
    pub p: f64,
    /// The smallest that so few blocks could give.
    pub least: f64,
    /// The p-value after Holm's correction within the family that it was asked in; `p` itself until
    /// then.
    pub p_holm: f64,
    /// What may be said.
    pub word: Word,
}

/// The resampled blocks of a dataset, for each length of a stretch.
#[derive(Debug)]
pub(super) struct Draws {
    blocks: usize,
    seed: u64,
    by_stretch: BTreeMap<usize, Resampling>,
}

impl Draws {
    /// Of a campaign with these cells.
    pub(super) fn new(dataset: &Dataset, cells: &[Cell<'_>], salt: &str) -> Self {
        Self {
            blocks: cells.iter().map(Cell::blocks).max().unwrap_or(0),
            seed: seed(&[&dataset.name, salt]),
            by_stretch: BTreeMap::new(),
        }
    }

    /// Those in stretches of so many blocks.
    pub(super) fn of(&mut self, stretch: usize) -> &Resampling {
        let (blocks, seed) = (self.blocks, self.seed);
        self.by_stretch
            .entry(stretch)
            .or_insert_with(|| Resampling::new(blocks, stretch, seed))
    }
}

/// Identical rows (twins), which are compared as one, so that they never get different words.
pub(super) fn pool(cells: &[Cell<'_>], one: &Cell<'_>) -> Vec<usize> {
    let alike = |other: &Cell<'_>| {
        let key = |c: &Cell<'_>| {
            (
                c.row.plane,
                c.row.scenario.clone(),
                c.mechanism().to_owned(),
            )
        };
        key(other) == key(one) && other.row.params == one.row.params
    };
    (0..cells.len()).filter(|at| alike(&cells[*at])).collect()
}

impl Comparison {
    /// Of the rows of one mechanism with those of another. `None` if no block has both.
    pub(super) fn of(mine: &[&Cell<'_>], theirs: &[&Cell<'_>], draws: &mut Draws) -> Option<Self> {
        let mut blocks: BTreeMap<usize, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
        let all = |cells: &[&Cell<'_>]| -> Vec<(usize, u64)> {
            cells
                .iter()
                .flat_map(|cell| cell.by_block.iter().copied())
                .collect()
        };
        let (mine_all, theirs_all) = (all(mine), all(theirs));
        for (block, value) in &mine_all {
            blocks.entry(*block).or_default().0.push(*value);
        }
        for (block, value) in &theirs_all {
            blocks.entry(*block).or_default().1.push(*value);
        }
        let blocks: Vec<(Vec<u64>, Vec<u64>)> = blocks
            .into_values()
            .filter(|(a, b)| !a.is_empty() && !b.is_empty())
            .collect();
        let sums = differences(&blocks);
        let stretch = stretch(&sums);
        let test = paired(&sums, stretch)?;
        let median = |values: &[(usize, u64)]| {
            let sample = Sample::new(values.iter().map(|(_, value)| *value).collect());
            sample.median().unwrap_or(CENSORED)
        };
        let medians = [median(&mine_all), median(&theirs_all)];
        let resampling = draws.of(stretch);
        let drawn = [
            resampling.medians(&mine_all),
            resampling.medians(&theirs_all),
        ];
        Some(Self {
            label: mine.first()?.row.label.clone(),
            of: mine.first()?.name(),
            with: theirs.first()?.name(),
            blocks: blocks.len(),
            stretch,
            ratio: ratio(medians[0], medians[1]),
            interval: interval(&drawn[0], &drawn[1], ratio),
            difference: difference(medians[0], medians[1]),
            difference_interval: interval(&drawn[0], &drawn[1], difference),
            p: test.p,
            least: test.least,
            p_holm: test.p,
            word: Word::NotToldApart,
        })
    }

    /// What may be said: "faster" or "slower" only if chance is an unlikely explanation, the whole
    /// interval lies on one side of 1, and the effect is larger than [`THRESHOLD`].
    fn judge(&mut self, least_holm: f64) {
        let level = 1.0 - crate::stats::CONFIDENCE;
        let (low, high) = self.interval.unwrap_or((0.0, f64::INFINITY));
        self.word = match self.ratio {
            _ if least_holm >= level => Word::TooFewBlocks,
            Some(ratio) if self.p_holm < level && low > 1.0 && ratio > 1.0 + THRESHOLD => {
                Word::Slower
            }
            Some(ratio) if self.p_holm < level && high < 1.0 && ratio < 1.0 / (1.0 + THRESHOLD) => {
                Word::Faster
            }
            _ => Word::NotToldApart,
        };
    }
}

/// Corrects the p-values of questions that were asked at once, and finds the words. "Too few
/// blocks" is said if no p-value could have led to another word: with the smallest possible
/// p-values, Holm's correction would still be above the level.
pub(super) fn judge<'c>(family: impl Iterator<Item = &'c mut Comparison>) {
    let mut family: Vec<&mut Comparison> = family.collect();
    let corrected = holm(&family.iter().map(|c| c.p).collect::<Vec<_>>());
    let least = holm(&family.iter().map(|c| c.least).collect::<Vec<_>>());
    for (comparison, (p, least)) in family.iter_mut().zip(corrected.into_iter().zip(least)) {
        comparison.p_holm = p;
        comparison.judge(least);
    }
}

/// Every twin with the first of its kind. They are identical, so any difference is chance or a
/// mistake.
pub(super) fn twins(cells: &[Cell<'_>], draws: &mut Draws) -> Vec<Comparison> {
    let first = |twin: &Cell<'_>| {
        let alike = pool(cells, twin);
        alike
            .into_iter()
            .map(|at| &cells[at])
            .find(|c| c.row.twin == 0)
    };
    let mut twins: Vec<Comparison> = cells
        .iter()
        .filter(|cell| cell.row.twin > 0)
        .filter_map(|twin| Comparison::of(&[twin], &[first(twin)?], draws))
        .collect();
    judge(twins.iter_mut());
    twins
}
