//! The few figures of the summary. Real statistics are made from the recorded trials, not here.

pub(super) use harness::record::figures::duration as ns;

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
