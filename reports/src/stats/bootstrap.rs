//! Ratios and differences of medians with bootstrap intervals that keep trials of one block
//! together, and neighbouring blocks too.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{CENSORED, CONFIDENCE};

/// Draws for each interval.
const DRAWS: usize = 2_000;

/// Resampled blocks of one run: for each draw, how often each block was drawn. Shared by all rows
/// of the run, so that two rows are always compared within the same blocks.
///
/// What is drawn are stretches of blocks in a row (a circular moving-block bootstrap), because
/// neighbouring blocks share the state of the machine; [`super::stretch`] computes their length.
/// Source: D. N. Politis, J. P. Romano, "A circular block-resampling procedure for stationary data"
/// (1992).
#[derive(Clone, Debug)]
pub struct Resampling {
    blocks: usize,
    weights: Vec<u16>,
}

impl Resampling {
    /// Of a run of so many blocks, in stretches of so many. The same seed gives the same draws on
    /// every machine.
    pub fn new(blocks: usize, stretch: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = vec![0; blocks * DRAWS];
        let stretch = stretch.max(1);
        let end = u32::try_from(blocks).unwrap_or(u32::MAX);
        for draw in weights.chunks_mut(blocks.max(1)) {
            let mut drawn = 0;
            while drawn < blocks {
                let start = rng.random_range(0..end) as usize;
                for step in 0..stretch.min(blocks - drawn) {
                    draw[(start + step) % blocks] += 1;
                }
                drawn += stretch;
            }
        }
        Self { blocks, weights }
    }

    /// The median of each draw. `values` are a block's number and the latency of the trial in it;
    /// what is empty in a draw is left out there.
    pub fn medians(&self, values: &[(usize, u64)]) -> Vec<Option<u64>> {
        let mut sorted: Vec<(u64, usize)> = values
            .iter()
            .map(|(block, value)| (*value, *block))
            .collect();
        sorted.sort_unstable();
        self.weights
            .chunks(self.blocks.max(1))
            .map(|weights| {
                let total: u32 = sorted
                    .iter()
                    .map(|(_, block)| u32::from(weights[*block]))
                    .sum();
                let mut seen = 0;
                sorted
                    .iter()
                    .find(|(_, block)| {
                        seen += u32::from(weights[*block]);
                        seen * 2 >= total && total > 0
                    })
                    .map(|(value, _)| *value)
            })
            .collect()
    }
}

/// One median by another. Infinite if only the first is censored, nothing if both are.
pub fn ratio(of: u64, to: u64) -> Option<f64> {
    match (of, to) {
        (CENSORED, CENSORED) => None,
        (CENSORED, _) => Some(f64::INFINITY),
        (_, CENSORED) => Some(0.0),
        #[expect(
            clippy::cast_precision_loss,
            reason = "latencies are far below 2^52 ns"
        )]
        (of, to) => Some(of as f64 / to.max(1) as f64),
    }
}

/// One median less another, in nanoseconds; nothing if one of them is censored.
pub fn difference(of: u64, to: u64) -> Option<f64> {
    match (of, to) {
        (CENSORED, _) | (_, CENSORED) => None,
        #[expect(
            clippy::cast_precision_loss,
            reason = "latencies are far below 2^52 ns"
        )]
        (of, to) => Some(of as f64 - to as f64),
    }
}

/// The bounds of the middle 95 % of the ratios (or differences) of two rows, draw by draw.
pub fn interval(
    of: &[Option<u64>],
    to: &[Option<u64>],
    between: fn(u64, u64) -> Option<f64>,
) -> Option<(f64, f64)> {
    let mut ratios: Vec<f64> = of
        .iter()
        .zip(to)
        .filter_map(|(a, b)| between((*a)?, (*b)?))
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of the number of draws"
    )]
    let cut = (ratios.len() as f64 * (1.0 - CONFIDENCE) / 2.0) as usize;
    Some((*ratios.get(cut)?, *ratios.get(ratios.len() - 1 - cut)?))
}

#[cfg(test)]
mod tests {
    use super::super::series::tests::drifting;
    use super::super::stretch;
    use super::*;

    #[test]
    fn every_draw_has_as_many_blocks_as_the_run() {
        for blocks in [1, 2, 7, 30] {
            let resampling = Resampling::new(blocks, 2, 1);
            for draw in resampling.weights.chunks(blocks) {
                assert_eq!(draw.iter().map(|w| usize::from(*w)).sum::<usize>(), blocks);
            }
        }
        assert!(Resampling::new(0, 1, 1).medians(&[]).is_empty());
    }

    #[test]
    fn the_interval_of_a_constant_ratio_is_that_ratio() {
        let resampling = Resampling::new(40, 4, 1);
        let slow: Vec<(usize, u64)> = (0..40).map(|b| (b, 300 + b as u64 * 3)).collect();
        let quick: Vec<(usize, u64)> = (0..40).map(|b| (b, 100 + b as u64)).collect();
        let (low, high) = interval(
            &resampling.medians(&slow),
            &resampling.medians(&quick),
            ratio,
        )
        .unwrap();
        assert!(
            (low - 3.0).abs() < 1e-9 && (high - 3.0).abs() < 1e-9,
            "{low} {high}"
        );
    }

    #[test]
    fn the_interval_of_a_median_covers_it_about_as_often_as_it_says() {
        let mut covered = 0;
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let values: Vec<(usize, u64)> =
                (0..60).map(|b| (b, rng.random_range(0..10_001))).collect();
            let one = vec![Some(1); DRAWS];
            let (low, high) =
                interval(&Resampling::new(60, 1, seed).medians(&values), &one, ratio).unwrap();
            covered += u32::from(low <= 5_000.0 && 5_000.0 <= high);
        }
        assert!((170..=200).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn an_interval_allows_for_the_memory_of_a_run() {
        let covered = |of: &dyn Fn(&[i64]) -> usize| {
            let mut covered = 0;
            for seed in 0..100 {
                let run = drifting(300, 850, seed);
                let values: Vec<(usize, u64)> = run
                    .iter()
                    .map(|v| u64::try_from(v + 100_000).unwrap())
                    .enumerate()
                    .collect();
                let one = vec![Some(1); DRAWS];
                let resampling = Resampling::new(300, of(&run), seed);
                let (low, high) = interval(&resampling.medians(&values), &one, ratio).unwrap();
                covered += u32::from(low <= 100_000.0 && 100_000.0 <= high);
            }
            covered
        };
        let (blind, aware) = (covered(&|_| 1), covered(&stretch));
        assert!(
            blind <= 65,
            "without stretches {blind} of 100: the run has no memory"
        );
        assert!(aware >= 80, "with stretches {aware} of 100");
    }

    #[test]
    fn a_difference_has_the_unit_of_its_values() {
        let rows = |ns: u64| (0..40).map(|b| (b, ns + b as u64)).collect::<Vec<_>>();
        let resampling = Resampling::new(40, 1, 1);
        let found = interval(
            &resampling.medians(&rows(900)),
            &resampling.medians(&rows(1_000)),
            difference,
        );
        assert_eq!(found, Some((-100.0, -100.0)));
        assert_eq!(difference(5, CENSORED), None);
    }

    #[test]
    fn a_censored_median_is_infinitely_longer() {
        assert_eq!(ratio(CENSORED, 5), Some(f64::INFINITY));
        assert_eq!(ratio(CENSORED, CENSORED), None);
    }
}
