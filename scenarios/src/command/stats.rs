//! The few figures of the summary. Real statistics are made from the recorded trials, not here.

/// A set of latencies. A trial in which the end was not seen by the deadline is *censored*: it
/// counts as longer than every value that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    sorted: Vec<u64>,
    censored: usize,
}

impl Sample {
    /// From what was seen, and the number of trials in which it was not seen until the deadline.
    pub(super) fn new(mut seen: Vec<u64>, censored: usize) -> Self {
        seen.sort_unstable();
        Self {
            sorted: seen,
            censored,
        }
    }

    /// How many, the censored included.
    pub(super) fn len(&self) -> usize {
        self.sorted.len() + self.censored
    }

    /// How many were censored.
    pub(super) fn censored(&self) -> usize {
        self.censored
    }

    /// The value below which `percent` of the sample lies (nearest rank).
    pub(super) fn percentile(&self, percent: usize) -> Quantile {
        match (self.len() * percent).div_ceil(100) {
            _ if self.len() == 0 => Quantile::Nothing,
            rank => self
                .sorted
                .get(rank.max(1) - 1)
                .map_or(Quantile::Censored, |v| Quantile::Value(*v)),
        }
    }

    /// How many lie above `ns`; the censored do.
    pub(super) fn later_than(&self, ns: u64) -> usize {
        self.len() - self.sorted.partition_point(|v| *v <= ns)
    }

    /// The largest.
    pub(super) fn max(&self) -> Quantile {
        self.percentile(100)
    }
}

/// A quantile of a sample that may be censored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantile {
    /// The sample is empty.
    Nothing,
    /// It lies beyond the deadline.
    Censored,
    /// It is this.
    Value(u64),
}

impl Quantile {
    /// The value, if there is one.
    pub(super) fn value(self) -> Option<u64> {
        match self {
            Self::Value(v) => Some(v),
            Self::Nothing | Self::Censored => None,
        }
    }
}

/// The largest rate that `0 of n` is compatible with at 95 % confidence, by the rule of three. One
/// for fewer than three trials.
///
/// Source: J. A. Hanley, A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA
/// 249 (1983).
pub(super) fn upper_bound_of_none(n: usize) -> f64 {
    match u32::try_from(n) {
        Ok(n) if n > 3 => 3.0 / f64::from(n),
        Ok(_) => 1.0,
        Err(_) => 0.0,
    }
}

/// A duration with three digits and the unit that suits it.
pub(super) fn ns(value: u64) -> String {
    let (scale, unit) = match value {
        0..=999 => return format!("{value} ns"),
        1_000..=999_999 => (1_000, "us"),
        1_000_000..=999_999_999 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let whole = value / scale;
    let thousandths = value % scale * 1_000 / scale;
    match whole {
        0..=9 => format!("{whole}.{:02} {unit}", thousandths / 10),
        10..=99 => format!("{whole}.{} {unit}", thousandths / 100),
        _ => format!("{whole} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_not_seen_is_longer_than_all_that_was() {
        let sample = Sample::new(vec![30, 10, 20], 1);
        assert_eq!(sample.percentile(50), Quantile::Value(20));
        assert_eq!(sample.max(), Quantile::Censored);
        assert_eq!(Sample::new(vec![], 0).percentile(50), Quantile::Nothing);
        assert_eq!(Sample::new(vec![1], 1).percentile(50), Quantile::Value(1));
        assert_eq!(Sample::new(vec![], 3).percentile(50), Quantile::Censored);
        assert_eq!((sample.later_than(20), sample.later_than(30)), (2, 1));
    }

    #[test]
    fn durations_have_three_digits() {
        for (value, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (71_000, "71.0 us"),
            (15_653_000, "15.6 ms"),
            (1_060_000_000, "1.06 s"),
            (123_456_789, "123 ms"),
        ] {
            assert_eq!(ns(value), text);
        }
    }

    #[test]
    fn none_of_few_says_little() {
        assert!((upper_bound_of_none(300) - 0.01).abs() < 1e-12);
        assert!((upper_bound_of_none(3) - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn percentiles_agree_with_counting(mut values in prop::collection::vec(any::<u64>(),
            1..50), percent in 1usize..=100) {
            let Quantile::Value(found) = Sample::new(values.clone(), 0).percentile(percent) else {
                return Err(TestCaseError::fail("not censored"));
            };
            values.sort_unstable();
            let at_most = values.iter().filter(|v| **v <= found).count();
            let below = values.iter().filter(|v| **v < found).count();
            prop_assert!(at_most * 100 >= values.len() * percent);
            prop_assert!(below * 100 < values.len() * percent);
        }
    }
}
