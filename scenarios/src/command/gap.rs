//! The idle time before each trial, drawn at random.
//!
//! A fixed gap that is a whole number of timer ticks starts every trial at the same phase of a
//! tick. The kernel's notification timer ends on a tick, so such a gap measures a single phase,
//! while a real caller starts at any phase. The defaults spread starts over 20 ms, which is a whole
//! number of ticks at HZ 100, 250 and 1000, so each phase is equally likely.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::values::duration;

/// Separates the random numbers for gaps from all others with the same seed.
const STREAM: u64 = 0x6761_7073;

/// A range of idle times, both ends included; a fixed one where they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The shortest.
    pub shortest: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Gap {
    /// No idle time.
    pub(super) const NONE: Self = Self {
        shortest: Duration::ZERO,
        longest: Duration::ZERO,
    };

    /// For a plain run, which has to show its answer soon.
    pub(super) const PLAIN: Self = Self::of_ms(0, 20);

    /// For a campaign: long enough for the machine to come to rest after the previous trial.
    pub(super) const CAMPAIGN: Self = Self::of_ms(10, 30);

    const fn of_ms(shortest: u64, longest: u64) -> Self {
        Self {
            shortest: Duration::from_millis(shortest),
            longest: Duration::from_millis(longest),
        }
    }

    /// Reads `20ms` or `10ms..30ms`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (shortest, longest) = text.split_once("..").unwrap_or((text, text));
        let [shortest, longest] = [shortest, longest]
            .map(|end| duration(end).map_err(|e| format!("{e}, or a range such as 10ms..30ms")));
        let gap = Self {
            shortest: shortest?,
            longest: longest?,
        };
        if gap.shortest > gap.longest {
            return Err("the shorter time has to come first, as in 10ms..30ms".to_owned());
        }
        Ok(gap)
    }

    /// The gaps of all trials from the `from`th on. Each belongs to its trial: a campaign that is
    /// resumed has the gaps that the interrupted one would have had.
    pub(super) fn draws(self, seed: u64, from: usize) -> impl Iterator<Item = Duration> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let spread = self.longest - self.shortest;
        std::iter::repeat_with(move || self.shortest + spread.mul_f64(rng.random::<f64>()))
            .skip(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_range_or_one_time() {
        let range = Gap {
            shortest: 10 * MS,
            longest: 30 * MS,
        };
        assert_eq!(Gap::parse("10ms..30ms"), Ok(range));
        assert_eq!(Gap::parse("0"), Ok(Gap::NONE));
        for bad in ["30ms..10ms", "..", "10ms..", "10", "1ms..2ms..3ms", "often"] {
            assert!(Gap::parse(bad).is_err(), "{bad}");
        }
    }

    /// With a fixed gap all starts have the same phase; this fails then.
    #[test]
    fn gaps_fall_on_every_part_of_a_tick_alike() {
        for (range, tick) in [Gap::PLAIN, Gap::CAMPAIGN]
            .into_iter()
            .flat_map(|range| [1, 4, 10].map(|ticks| (range, ticks * MS)))
        {
            let mut parts = [0u32; 4];
            for gap in range.draws(1, 0).take(4_000) {
                assert!((range.shortest..=range.longest).contains(&gap));
                let phase = gap.as_nanos() % tick.as_nanos();
                parts[usize::try_from(phase * 4 / tick.as_nanos()).unwrap()] += 1;
            }
            // 1000 each, with a standard deviation of 27; the seed is fixed, so this holds or it
            // does not.
            assert!(
                parts.iter().all(|n| (900..1_100).contains(n)),
                "{range:?}, {tick:?}: {parts:?}"
            );
        }
    }

    #[test]
    fn a_gap_belongs_to_its_trial() {
        let gap = Gap::parse("0..5ms").unwrap();
        let all: Vec<_> = gap.draws(7, 0).take(30).collect();
        assert_eq!(gap.draws(7, 10).take(20).collect::<Vec<_>>(), all[10..]);
        assert_ne!(gap.draws(8, 0).next(), gap.draws(7, 0).next());
    }
}
