//! Medians, quantiles and the ratio of two medians with an upper bound. No other claim can be made
//! from emulated times.

/// The value below which the share `q` of the samples lies (nearest rank); `None` without samples.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank within the slice"
)]
pub fn quantile(samples: &[u64], q: f64) -> Option<u64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The median.
#[must_use]
pub fn median(samples: &[u64]) -> Option<u64> {
    quantile(samples, 0.5)
}

/// The ratio of two medians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Median of one divided by the median of the other.
    pub value: f64,
    /// Bounds between which 95 % of the bootstrap's ratios lie.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// How often the samples are drawn again for the bounds.
const DRAWS: usize = 2_000;

/// `median(above) / median(below)` with a percentile bootstrap. The draws are the same every time.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "nanoseconds below 2^53")]
pub fn ratio(above: &[u64], below: &[u64]) -> Option<Ratio> {
    let value = |above: &[u64], below: &[u64]| {
        Some(median(above)? as f64 / (median(below)? as f64).max(1.0))
    };
    let mut random = Draw(0x2545_f491_4f6c_dd1d);
    let mut ratios: Vec<f64> = (0..DRAWS)
        .filter_map(|_| value(&random.again(above), &random.again(below)))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: usize| ratios.get(ratios.len() * share / 1_000).copied();
    Some(Ratio {
        value: value(above, below)?,
        low: at(25)?,
        high: at(975)?,
    })
}

/// xorshift64*: enough to draw with, and the same on every machine.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn again(&mut self, samples: &[u64]) -> Vec<u64> {
        (0..samples.len())
            .map(|_| samples[(self.next() >> 11) as usize % samples.len()])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_quantiles() {
        let samples = [5, 1, 4, 2, 3];
        assert_eq!(median(&samples), Some(3));
        assert_eq!(quantile(&samples, 0.9), Some(5));
        assert_eq!(quantile(&samples, 0.0), Some(1));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_has_bounds_around_it() {
        let above: Vec<u64> = (0..100).map(|i| 14_000 + i * 10).collect();
        let below: Vec<u64> = (0..100).map(|i| 400 + i).collect();
        let ratio = ratio(&above, &below).unwrap();
        assert!(
            ratio.low <= ratio.value && ratio.value <= ratio.high,
            "{ratio:?}"
        );
        assert!(ratio.value > 30.0 && ratio.high < 35.0, "{ratio:?}");
    }

    #[test]
    fn nothing_has_no_ratio() {
        assert_eq!(ratio(&[], &[1]), None);
        assert_eq!(ratio(&[1], &[]), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_one_of_the_samples(samples in proptest::collection::vec(any::<u64>(),
            1..50), q in 0.0..1.0f64) {
            prop_assert!(samples.contains(&quantile(&samples, q).unwrap()));
        }

        #[test]
        fn quantiles_rise(samples in proptest::collection::vec(any::<u64>(), 1..50),
            a in 0.0..1.0f64, b in 0.0..1.0f64) {
            prop_assert!(quantile(&samples, a.min(b)) <= quantile(&samples, a.max(b)));
        }
    }
}
