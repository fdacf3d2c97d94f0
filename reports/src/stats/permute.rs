//! Permutation tests on ranks: before a report says "faster", it asks how often chance alone would look like that.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Permutations for each test; the smallest p-value is one by one more than this.
pub const PERMUTATIONS: u32 = 9_999;

/// Two-sided p-value that two rows of one run are alike: within each block, who is who is drawn by lot. The statistic is the sum of the
/// differences of ranks, so that neither outliers nor censored trials (the highest rank) need a value. Nothing if no block has both.
pub fn paired(pairs: &[(u64, u64)], seed: u64) -> Option<f64> {
    if pairs.is_empty() {
        return None;
    }
    let all: Vec<u64> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let ranks = double_ranks(&all);
    let differences: Vec<i64> = ranks.chunks(2).map(|pair| pair[0] - pair[1]).collect();
    let seen = differences.iter().sum::<i64>().abs();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let as_far = (0..PERMUTATIONS).filter(|_| {
        let mut sum = 0;
        for chunk in differences.chunks(64) {
            let mut bits = rng.next_u64();
            for difference in chunk {
                sum += if bits & 1 == 0 { *difference } else { -difference };
                bits >>= 1;
            }
        }
        sum.abs() >= seen
    });
    Some(p_value(as_far.count()))
}

/// The same for rows of two runs, which share no blocks: who belongs to which run is drawn by lot.
pub fn unpaired(a: &[u64], b: &[u64], seed: u64) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let all: Vec<u64> = a.iter().chain(b).copied().collect();
    let mut ranks = double_ranks(&all);
    let total: i64 = ranks.iter().sum();
    let (n, count) = (length(a.len()), length(all.len()));
    // Distance of the sum of the first run's ranks from its expectation, times the number of all trials to stay in integers.
    let distance = |sum: i64| (sum * count - total * n).abs();
    let seen = distance(ranks[..a.len()].iter().sum());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let end = u32::try_from(ranks.len()).unwrap_or(u32::MAX);
    let as_far = (0..PERMUTATIONS).filter(|_| {
        let mut sum = 0;
        for at in 0..a.len().min(end as usize) {
            let other = rng.random_range(u32::try_from(at).unwrap_or(u32::MAX)..end) as usize;
            ranks.swap(at, other);
            sum += ranks[at];
        }
        distance(sum) >= seen
    });
    Some(p_value(as_far.count()))
}

/// Holm's correction for having asked several questions at once, in the order given.
///
/// Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (step, index) in order.iter().enumerate() {
        let left = u32::try_from(p_values.len() - step).unwrap_or(u32::MAX);
        largest = largest.max((p_values[*index] * f64::from(left)).min(1.0));
        corrected[*index] = largest;
    }
    corrected
}

/// Twice the rank of each value, so that ties, which share the mean of their ranks, stay integers.
fn double_ranks(values: &[u64]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by_key(|index| values[*index]);
    let mut ranks = vec![0; values.len()];
    let mut begun = 0;
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let (first, last) = (begun + 1, begun + tied.len());
        tied.iter().for_each(|index| ranks[*index] = length(first + last));
        begun = last;
    }
    ranks
}

fn p_value(as_far: usize) -> f64 {
    let as_far = u32::try_from(as_far).unwrap_or(PERMUTATIONS);
    f64::from(as_far + 1) / f64::from(PERMUTATIONS + 1)
}

fn length(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::CENSORED;
    use super::*;

    #[test]
    fn what_is_alike_is_not_told_apart() {
        let mut low = 0;
        for seed in 0..100 {
            let mut rng = ChaCha8Rng::seed_from_u64(1_000 + seed);
            let pairs: Vec<(u64, u64)> = (0..40)
                .map(|_| (rng.random_range(0..1_000), rng.random_range(0..1_000)))
                .collect();
            low += u32::from(paired(&pairs, seed).unwrap() < 0.05);
        }
        assert!(low <= 12, "{low} of 100 tests of nothing were below 0.05");
    }

    #[test]
    fn what_differs_is_told_apart() {
        let pairs: Vec<(u64, u64)> = (0..40).map(|i| (100 + i, 150 + i)).collect();
        assert!(paired(&pairs, 1).unwrap() < 0.001);
        let (a, b): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        assert!(unpaired(&a, &b, 1).unwrap() < 0.001);
        assert!(unpaired(&a, &a, 1).unwrap() > 0.9);
    }

    #[test]
    fn censored_trials_are_the_longest() {
        let pairs = vec![(5, CENSORED); 20];
        assert!(paired(&pairs, 1).unwrap() < 0.001);
        assert_eq!(paired(&[], 1), None);
    }

    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(double_ranks(&[10, 20, 20, 5]), [4, 7, 7, 2]);
    }

    #[test]
    fn holm_is_holm() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
        assert!(holm(&[]).is_empty());
    }
}
