//! Two rows of one campaign, block by block.

use super::Cell;
use crate::stats::{CENSORED, Resampling, holm, interval, paired, ratio, seed};
use crate::store::Dataset;

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
    /// Median by median; infinite if only the first lies beyond the deadline.
    pub ratio: Option<f64>,
    /// Its bootstrap interval.
    pub interval: Option<(f64, f64)>,
    /// p-value of the permutation test.
    pub p: f64,
    /// The same after Holm's correction within the family that it was asked in; `p` itself until then.
    pub p_holm: f64,
}

impl Comparison {
    /// Nothing if no block has both.
    pub(super) fn of(cell: &Cell<'_>, other: &Cell<'_>, resampling: &Resampling) -> Option<Self> {
        let mut pairs = Vec::new();
        let mut theirs = other.by_block.iter().peekable();
        for (block, value) in &cell.by_block {
            while theirs.next_if(|(b, _)| b < block).is_some() {}
            if let Some((_, their)) = theirs.next_if(|(b, _)| b == block) {
                pairs.push((*value, *their));
            }
        }
        let p = paired(
            &pairs,
            seed(&[&cell.row.dataset, &cell.row.label, &cell.name(), &other.name()]),
        )?;
        Some(Self {
            label: cell.row.label.clone(),
            of: cell.name(),
            with: other.name(),
            blocks: pairs.len(),
            ratio: ratio(
                cell.latency.median().unwrap_or(CENSORED),
                other.latency.median().unwrap_or(CENSORED),
            ),
            interval: interval(
                &resampling.medians(&cell.by_block),
                &resampling.medians(&other.by_block),
            ),
            p,
            p_holm: p,
        })
    }
}

/// Every twin with the first of its kind. They are alike in everything, so what differs is chance or a mistake.
pub(super) fn twins(cells: &[Cell<'_>], resampling: &Resampling) -> Vec<Comparison> {
    let first = |twin: &Cell<'_>| {
        cells.iter().find(|c| {
            c.row.twin == 0
                && c.row.plane == twin.row.plane
                && c.row.scenario == twin.row.scenario
                && c.row.params == twin.row.params
                && (&c.row.detector, &c.row.strategy) == (&twin.row.detector, &twin.row.strategy)
        })
    };
    let mut twins: Vec<Comparison> = cells
        .iter()
        .filter(|cell| cell.row.twin > 0)
        .filter_map(|twin| Comparison::of(twin, first(twin)?, resampling))
        .collect();
    let corrected = holm(&twins.iter().map(|twin| twin.p).collect::<Vec<_>>());
    twins.iter_mut().zip(corrected).for_each(|(twin, p)| twin.p_holm = p);
    twins
}

/// The resampled blocks of a dataset.
pub(super) fn resampling(dataset: &Dataset, blocks: usize) -> Resampling {
    Resampling::new(blocks, seed(&[&dataset.name]))
}
