//! The open loop: when trials are to start, whether or not the one before has ended.
//!
//! In a closed loop a slow trial holds back the next one, so that a machine that stalls is asked
//! less often and looks better than it is ("coordinated omission"). In an open loop the intended
//! start does not depend on the machine, and latencies can be counted from it.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::values::duration;

/// How trials arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Arrivals {
    /// One after each such time.
    Fixed(Duration),
    /// With gaps drawn from an exponential distribution of this mean: independent requests.
    Poisson(Duration),
}

impl Arrivals {
    /// Reads `20ms` or `poisson:20ms`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (kind, time): (fn(Duration) -> Self, _) = match text.strip_prefix("poisson:") {
            Some(mean) => (Self::Poisson, mean),
            None => (Self::Fixed, text),
        };
        let time = duration(time).map_err(|e| format!("{e}, or one after \"poisson:\""))?;
        if time.is_zero() {
            return Err("trials cannot all start at once: a time above 0 is needed".to_owned());
        }
        Ok(kind(time))
    }

    /// Its name in the plan.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fixed(_) => "fixed",
            Self::Poisson(_) => "poisson",
        }
    }

    /// Mean time between two starts.
    pub(super) fn every(self) -> Duration {
        match self {
            Self::Fixed(every) | Self::Poisson(every) => every,
        }
    }
}

/// Intended starts of a whole campaign.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Schedule {
    /// How trials arrive.
    pub arrivals: Arrivals,
    /// Seed of the gaps.
    pub seed: u64,
}

impl Schedule {
    /// Times from the beginning of a sitting to the intended starts of trial `from` and its
    /// successors. A gap belongs to its trial: a sitting that goes on has the gaps that the
    /// interrupted one would have had.
    pub(in super::super) fn starts(&self, from: usize) -> impl Iterator<Item = Duration> + use<> {
        let Self { arrivals, seed } = *self;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let gaps = std::iter::repeat_with(move || match arrivals {
            Arrivals::Fixed(every) => every,
            // The draw is in [0, 1), so its complement is never 0 and the logarithm is finite.
            Arrivals::Poisson(mean) => mean.mul_f64(-(1.0 - rng.random::<f64>()).ln()),
        });
        gaps.skip(from).scan(Duration::ZERO, |at, gap| {
            *at += gap;
            Some(*at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn fixed_starts_are_equally_far_apart() {
        let schedule = Schedule {
            arrivals: Arrivals::parse("20ms").unwrap(),
            seed: 1,
        };
        let starts: Vec<_> = schedule.starts(5).take(3).collect();
        assert_eq!(starts, [20 * MS, 40 * MS, 60 * MS]);
    }

    #[test]
    fn drawn_starts_are_the_seeds_and_have_the_mean() {
        let schedule = Schedule {
            arrivals: Arrivals::parse("poisson:1ms").unwrap(),
            seed: 9,
        };
        let all: Vec<_> = schedule.starts(0).take(10_000).collect();
        assert!(all.is_sorted());
        assert_eq!(all, schedule.starts(0).take(10_000).collect::<Vec<_>>());
        // The mean of 10 000 draws has a standard error of one hundredth; the seed is fixed, so
        // this holds or it does not.
        assert!(
            all[9_999] > 9_500 * MS && all[9_999] < 10_500 * MS,
            "{:?}",
            all[9_999]
        );
        let other = Schedule {
            seed: 10,
            ..schedule
        };
        assert_ne!(other.starts(0).next(), schedule.starts(0).next());
    }

    #[test]
    fn a_sitting_that_goes_on_has_the_same_gaps() {
        let schedule = Schedule {
            arrivals: Arrivals::Poisson(MS),
            seed: 3,
        };
        let all: Vec<_> = schedule.starts(0).take(20).collect();
        let rest: Vec<_> = schedule.starts(12).take(8).collect();
        for (late, early) in rest.iter().zip(&all[12..]) {
            assert_eq!(*late, *early - all[11]);
        }
    }

    #[test]
    fn times_that_make_no_schedule_are_refused() {
        for bad in ["0", "poisson:0", "poisson", "5", "often"] {
            assert!(Arrivals::parse(bad).is_err(), "{bad}");
        }
    }
}
