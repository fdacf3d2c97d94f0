//! The autocorrelation of a run: over how many neighbouring blocks values are correlated.

/// The length of the stretches that a block bootstrap has to draw from a run with these values, one
/// a block, in their order. 1 if neighbours are independent; rounded up to a power of two; at most
/// an eighth of the run.
///
/// Source: D. N. Politis, H. White, "Automatic block-length selection for the dependent bootstrap",
/// Econometric Reviews 23 (2004), with the correction of A. Patton, D. N. Politis, H. White (2009);
/// the circular block bootstrap.
pub fn stretch(values: &[i64]) -> usize {
    let n = values.len();
    let most = (n / 8).max(1);
    if n < 16 {
        return 1;
    }
    let mean = sum(values.iter().map(|v| real(*v))) / count(n);
    let centred: Vec<f64> = values.iter().map(|v| real(*v) - mean).collect();
    let covariance =
        |lag: usize| sum(centred.iter().zip(&centred[lag..]).map(|(a, b)| a * b)) / count(n);
    let variance = covariance(0);
    if variance <= 0.0 {
        return 1;
    }
    // Correlations below this are due to chance: 2 * sqrt(log10(n) / n), the logarithm from the
    // number of binary digits.
    let chance = 2.0 * (f64::from(n.ilog2()) * std::f64::consts::LOG10_2 / count(n)).sqrt();
    let longest = (n / 4).max(1);
    let small: Vec<bool> = (0..=longest)
        .map(|lag| (covariance(lag) / variance).abs() < chance)
        .collect();
    let run = 5.min(longest);
    let last = (0..longest)
        .find(|m| small[m + 1..].iter().take(run).all(|is| *is))
        .unwrap_or(longest);
    if last == 0 {
        return 1;
    }
    let window = (2 * last).min(longest);
    let (mut slope, mut spectrum) = (0.0, variance);
    for lag in 1..=window {
        let share = count(lag) / count(window);
        let weight = if share <= 0.5 {
            1.0
        } else {
            2.0 * (1.0 - share)
        };
        let both = 2.0 * weight * covariance(lag);
        slope += both * count(lag);
        spectrum += both;
    }
    // b = (2 G^2 / D)^(1/3) n^(1/3) with D = 4/3 g(0)^2.
    let cube = 1.5 * slope * slope / (spectrum * spectrum) * count(n);
    let length = (1..most)
        .find(|l| count(*l) * count(*l) * count(*l) >= cube)
        .unwrap_or(most);
    length.next_power_of_two().min(most)
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "differences of ranks are far below 2^52"
)]
fn real(value: i64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
pub(super) mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A run in which each value keeps `permille` thousandths of the one before it.
    pub(in super::super) fn drifting(n: usize, permille: i64, seed: u64) -> Vec<i64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut value = 0;
        (0..n + 50)
            .map(|_| {
                value = value * permille / 1_000 + rng.random_range(-1_000..1_001);
                value
            })
            .skip(50)
            .collect()
    }

    #[test]
    fn the_memory_of_a_run_is_found() {
        let lengths = |permille| {
            let mut all: Vec<usize> = (0..21)
                .map(|seed| stretch(&drifting(600, permille, seed)))
                .collect();
            all.sort_unstable();
            all[10]
        };
        assert_eq!(lengths(0), 1, "no memory");
        assert!(lengths(500) >= 4, "some: {}", lengths(500));
        assert!(lengths(900) >= 16, "much: {}", lengths(900));
    }

    #[test]
    fn what_is_too_short_or_constant_has_none() {
        assert_eq!(stretch(&[]), 1);
        assert_eq!(stretch(&[5; 100]), 1);
        assert_eq!(stretch(&drifting(15, 900, 1)), 1);
        assert!(stretch(&drifting(40, 990, 1)) <= 5);
    }
}
