//! Permutation tests on ranks: how often would chance alone give such a difference?

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::normal::two_sided;

/// Permutations for each test of two runs; the smallest p-value is one by one more than this.
pub const PERMUTATIONS: u32 = 9_999;

/// Up to so many stretches all permutations are counted.
const COUNTED: usize = 16;

/// The result of a test of two rows of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Two-sided p-value that they are alike.
    pub p: f64,
    /// The smallest p-value that so few stretches could give at all.
    pub least: f64,
}

/// Differences of mean ranks, block by block: [`paired`] sums them up, and their autocorrelation
/// gives the length of a stretch. `blocks` holds the values of both sides in each block; a side may
/// have several there (twins). Neither outliers nor censored trials (the highest rank) need a
/// value.
pub fn differences(blocks: &[(Vec<u64>, Vec<u64>)]) -> Vec<i64> {
    let all: Vec<u64> = blocks
        .iter()
        .flat_map(|(a, b)| a.iter().chain(b))
        .copied()
        .collect();
    let ranks = double_ranks(&all);
    let mut next = ranks.as_slice();
    let mut sum_of = |n: usize| {
        let (own, rest) = next.split_at(n);
        next = rest;
        own.iter().sum::<i64>()
    };
    let sums = blocks.iter().map(|(a, b)| {
        let (mine, theirs) = (sum_of(a.len()), sum_of(b.len()));
        mine * length(b.len()) - theirs * length(a.len())
    });
    sums.collect()
}

/// The test: in each stretch of so many blocks the labels of the two rows are swapped or not. Up to
/// sixteen stretches all combinations are counted. Beyond that the sum of the signs is
/// approximately normal, and its tails are not longer. So nothing depends on a seed. `None` without
/// a block.
pub fn paired(differences: &[i64], stretch: usize) -> Option<Paired> {
    if differences.is_empty() {
        return None;
    }
    let sums: Vec<i64> = differences
        .chunks(stretch.max(1))
        .map(|c| c.iter().sum())
        .collect();
    let seen = sums.iter().sum::<i64>().abs();
    let least = (1..sums.len().min(60)).fold(1.0, |p, _| p / 2.0);
    let p = if sums.len() <= COUNTED {
        let draws = 1u32 << sums.len();
        let as_far = (0..draws).filter(|draw| {
            let signed = |(at, sum): (usize, &i64)| if draw >> at & 1 == 0 { *sum } else { -sum };
            sums.iter().enumerate().map(signed).sum::<i64>().abs() >= seen
        });
        f64::from(u32::try_from(as_far.count()).unwrap_or(draws)) / f64::from(draws)
    } else {
        let squares: f64 = sums
            .iter()
            .map(|s| real(*s) * real(*s))
            .fold(0.0, |all, s| all + s);
        match squares > 0.0 {
            true => two_sided(real(seen) / squares.sqrt()),
            false => 1.0,
        }
    };
    Some(Paired { p, least })
}

/// Two-sided p-value that rows of two runs, which share no blocks, are alike: the trials are
/// assigned to the runs at random.
pub fn unpaired(a: &[u64], b: &[u64], seed: u64) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let all: Vec<u64> = a.iter().chain(b).copied().collect();
    let mut ranks = double_ranks(&all);
    let total: i64 = ranks.iter().sum();
    let (n, count) = (length(a.len()), length(all.len()));
    // Distance of the sum of the first run's ranks from its expectation, times the number of all
    // trials to stay in integers.
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
/// Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
/// of Statistics 6 (1979).
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
pub fn double_ranks(values: &[u64]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by_key(|index| values[*index]);
    let mut ranks = vec![0; values.len()];
    let mut begun = 0;
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let (first, last) = (begun + 1, begun + tied.len());
        tied.iter()
            .for_each(|index| ranks[*index] = length(first + last));
        begun = last;
    }
    ranks
}

fn p_value(as_far: usize) -> f64 {
    let as_far = u32::try_from(as_far).unwrap_or(PERMUTATIONS);
    f64::from(as_far + 1) / f64::from(PERMUTATIONS + 1)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sums of ranks are far below 2^52"
)]
fn real(value: i64) -> f64 {
    value as f64
}

fn length(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::CENSORED;
    use super::*;

    fn one_by_one(pairs: &[(u64, u64)]) -> Vec<(Vec<u64>, Vec<u64>)> {
        pairs.iter().map(|(a, b)| (vec![*a], vec![*b])).collect()
    }

    fn test(pairs: &[(u64, u64)]) -> Paired {
        paired(&differences(&one_by_one(pairs)), 1).unwrap()
    }

    #[test]
    fn what_is_alike_is_not_told_apart() {
        for blocks in [12, 40] {
            let mut low = 0;
            for seed in 0..100 {
                let mut rng = ChaCha8Rng::seed_from_u64(1_000 + seed);
                let pairs: Vec<(u64, u64)> = (0..blocks)
                    .map(|_| (rng.random_range(0..1_000), rng.random_range(0..1_000)))
                    .collect();
                low += u32::from(test(&pairs).p < 0.05);
            }
            assert!(
                low <= 12,
                "{low} of 100 tests of nothing were below 0.05 with {blocks} blocks"
            );
        }
    }

    #[test]
    fn what_differs_is_told_apart() {
        let pairs: Vec<(u64, u64)> = (0..40).map(|i| (100 + i, 150 + i)).collect();
        assert!(test(&pairs).p < 0.001);
        let (a, b): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        assert!(unpaired(&a, &b, 1).unwrap() < 0.001);
        assert!(unpaired(&a, &a, 1).unwrap() > 0.9);
    }

    #[test]
    fn counting_and_the_normal_tail_agree_where_they_meet() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for _ in 0..20 {
            let pairs: Vec<(u64, u64)> = (0..16)
                .map(|_| (rng.random_range(0..1_000), rng.random_range(300..1_300)))
                .collect();
            let sums = differences(&one_by_one(&pairs));
            let counted = paired(&sums, 1).unwrap().p;
            let squares: f64 = sums.iter().map(|s| real(*s) * real(*s)).sum();
            let normal = two_sided(real(sums.iter().sum::<i64>()) / squares.sqrt());
            assert!((counted - normal).abs() < 0.02, "{counted} and {normal}");
        }
    }

    #[test]
    fn so_few_blocks_cannot_say_anything() {
        let ten = test(&[(5, 50); 10]);
        assert!((ten.p - 2.0 / 1024.0).abs() < 1e-12 && (ten.least - ten.p).abs() < 1e-12);
        let stretches = paired(&differences(&one_by_one(&[(5, 50); 40])), 8).unwrap();
        assert!((stretches.p - 2.0 / 32.0).abs() < 1e-12, "five stretches");
    }

    #[test]
    fn twins_speak_with_one_voice() {
        let blocks: Vec<(Vec<u64>, Vec<u64>)> = (0..40)
            .map(|i| (vec![100 + i, 101 + i], vec![150 + i]))
            .collect();
        assert!(paired(&differences(&blocks), 1).unwrap().p < 0.001);
        let alike: Vec<(Vec<u64>, Vec<u64>)> = (0..40)
            .map(|i| (vec![100, 200], vec![100 + i % 2 * 100]))
            .collect();
        assert!(paired(&differences(&alike), 1).unwrap().p > 0.9);
    }

    #[test]
    fn censored_trials_are_the_longest() {
        assert!(test(&[(5, CENSORED); 20]).p < 0.001);
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
