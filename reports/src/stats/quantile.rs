//! Quantiles as order statistics, with confidence intervals that hold for every distribution.

use super::{CENSORED, CONFIDENCE};

/// A sorted sample of latencies. Censored ones stand at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    sorted: Vec<u64>,
}

/// An order statistic, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// It was seen.
    Value(u64),
    /// It lies beyond the deadline.
    Beyond,
    /// The sample is too small to say.
    Open,
}

/// A quantile and its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantile {
    /// By nearest rank.
    pub at: Bound,
    /// Lower end of the interval.
    pub low: Bound,
    /// Upper end of the interval.
    pub high: Bound,
}

impl Bound {
    /// The value, if it was seen.
    pub fn value(self) -> Option<u64> {
        match self {
            Self::Value(value) => Some(value),
            Self::Beyond | Self::Open => None,
        }
    }
}

impl Sample {
    /// Of latencies in any order.
    pub fn new(mut latencies: Vec<u64>) -> Self {
        latencies.sort_unstable();
        Self { sorted: latencies }
    }

    /// How many, the censored included.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Those that were seen, sorted.
    pub fn seen(&self) -> &[u64] {
        &self.sorted[..self.sorted.partition_point(|v| *v < CENSORED)]
    }

    /// How many lie beyond their deadline.
    pub fn censored(&self) -> usize {
        self.len() - self.seen().len()
    }

    /// The quantile at `permille`. Above the median at least one trial must lie beyond it, above
    /// the 99th percentile at least ten: a tail that was hardly seen is not stated.
    pub fn quantile(&self, permille: usize) -> Option<Quantile> {
        let n = self.len();
        let rank = (n * permille).div_ceil(1000).max(1);
        let beyond = if permille > 990 { 10 } else { 1 };
        let enough = permille <= 500 || n * (1000 - permille) >= beyond * 1000;
        if n == 0 || !enough {
            return None;
        }
        let (low, high) = ranks(n, permille);
        Some(Quantile {
            at: self.order(Some(rank)),
            low: self.order(low),
            high: self.order(high),
        })
    }

    /// The median without its interval; [`CENSORED`] if it lies beyond the deadline, nothing if
    /// there is no sample.
    pub fn median(&self) -> Option<u64> {
        self.sorted.get(self.len().div_ceil(2).max(1) - 1).copied()
    }

    /// The largest.
    pub fn max(&self) -> Bound {
        self.order(Some(self.len()).filter(|n| *n > 0))
    }

    /// How many lie above the upper fence (third quartile plus three times the distance of the
    /// quartiles). Flagged, never removed.
    pub fn outliers(&self) -> usize {
        let at = |permille: usize| {
            self.sorted
                .get((self.len() * permille).div_ceil(1000).max(1) - 1)
        };
        match (at(250), at(750)) {
            (Some(first), Some(third)) if *third < CENSORED => {
                let fence = third.saturating_add((third - first).saturating_mul(3));
                self.len() - self.sorted.partition_point(|v| *v <= fence)
            }
            _ => 0,
        }
    }

    fn order(&self, rank: Option<usize>) -> Bound {
        match rank.and_then(|rank| self.sorted.get(rank - 1)) {
            None => Bound::Open,
            Some(&CENSORED) => Bound::Beyond,
            Some(value) => Bound::Value(*value),
        }
    }
}

/// Ranks (from 1) between which the true quantile lies with at least [`CONFIDENCE`], each side
/// erring with at most half of the rest. Nothing where the sample is too small for a bound on that
/// side.
///
/// Source: H. A. David, H. N. Nagaraja, "Order Statistics", 3rd ed. (2003), section 7.1: the number
/// of values below a quantile is binomial.
fn ranks(n: usize, permille: usize) -> (Option<usize>, Option<usize>) {
    let side = (1.0 - CONFIDENCE) / 2.0;
    let below = binomial(n, permille);
    let mut low = None;
    let mut high = None;
    let mut sum = 0.0;
    for (k, mass) in below.iter().enumerate() {
        sum += mass;
        // P(Bin <= k) is the chance that the value of rank k + 1 lies above the quantile.
        if sum <= side {
            low = Some(k + 1);
        }
        if sum >= 1.0 - side && high.is_none() {
            high = Some(k + 1);
        }
    }
    (low, high.filter(|rank| *rank <= n))
}

/// Probabilities of 0 to n successes. Built from the mode outwards by ratios: no logarithm, no
/// underflow where it matters.
fn binomial(n: usize, permille: usize) -> Vec<f64> {
    let p = real(permille) / 1000.0;
    let odds = p / (1.0 - p);
    let mode = (n * permille / 1000).min(n);
    let mut mass = vec![0.0; n + 1];
    mass[mode] = 1.0;
    for k in mode..n {
        mass[k + 1] = mass[k] * real(n - k) / real(k + 1) * odds;
    }
    for k in (0..mode).rev() {
        mass[k] = mass[k + 1] * real(k + 1) / real(n - k) / odds;
    }
    let total: f64 = mass.iter().sum();
    mass.iter_mut().for_each(|m| *m /= total);
    mass
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn upto(n: u64) -> Sample {
        Sample::new((1..=n).collect())
    }

    #[test]
    fn ranks_are_those_of_the_tables() {
        // n = 100, median: 40 and 61 (Conover, "Practical Nonparametric Statistics", table A3 and
        // its example).
        let median = upto(100).quantile(500).unwrap();
        assert_eq!(
            (median.at, median.low, median.high),
            (Bound::Value(50), Bound::Value(40), Bound::Value(61))
        );
    }

    #[test]
    fn a_small_sample_leaves_its_interval_open() {
        let median = upto(5).quantile(500).unwrap();
        assert_eq!((median.low, median.high), (Bound::Open, Bound::Open));
        assert_eq!(upto(200).quantile(990).unwrap().high, Bound::Open);
        assert_eq!(upto(99).quantile(990), None);
        assert!(upto(100).quantile(990).is_some());
    }

    #[test]
    fn the_far_tail_needs_ten_beyond_it() {
        assert_eq!(upto(9_999).quantile(999), None);
        assert_eq!(upto(10_000).quantile(999).unwrap().at, Bound::Value(9_990));
    }

    #[test]
    fn what_was_not_seen_is_longer_than_all_that_was() {
        let sample = Sample::new(vec![30, CENSORED, 20, CENSORED, CENSORED]);
        assert_eq!(sample.quantile(500).unwrap().at, Bound::Beyond);
        assert_eq!((sample.seen(), sample.censored()), (&[20, 30][..], 3));
        assert_eq!(sample.median(), Some(CENSORED));
        assert_eq!(Sample::default().median(), None);
        assert_eq!(Sample::default().quantile(500), None);
    }

    #[test]
    fn outliers_are_flagged() {
        let mut values: Vec<u64> = (100..200).collect();
        values.push(100_000);
        assert_eq!(Sample::new(values).outliers(), 1);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_quantile(n in 1usize..400,
            permille in prop::sample::select(vec![500usize, 900, 990])) {
            let sample = upto(n as u64);
            if let Some(q) = sample.quantile(permille) {
                let at = q.at.value().unwrap();
                prop_assert!(q.low.value().is_none_or(|low| low <= at));
                prop_assert!(q.high.value().is_none_or(|high| high >= at));
            }
        }

        #[test]
        fn probabilities_sum_to_one(n in 0usize..3000, permille in 1usize..1000) {
            let total: f64 = binomial(n, permille).iter().sum();
            prop_assert!((total - 1.0).abs() < 1e-9);
        }
    }
}
