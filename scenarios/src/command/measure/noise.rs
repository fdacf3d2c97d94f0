//! Machine noise, measured by itself: a control that only spins and looks at the clock. Time that it misses, somebody else had.

use std::time::Duration;

use harness::record::{NoiseRecord, SCHEMA};
use harness::sys::time;

use super::super::stats;

/// A gap between two looks at the clock that is longer than this was not the control's own doing.
const GAP_NS: u64 = 10_000;

/// Spins for `span` on whatever processor the harness runs on, before `block`.
pub(in super::super) fn spin(block: u32, span: Duration) -> NoiseRecord {
    let began = time::now();
    let until = began + span;
    let mut seen = NoiseRecord {
        schema: SCHEMA,
        block,
        began_ns: began.0,
        ..NoiseRecord::default()
    };
    let mut last = began;
    while last < until {
        let now = time::now();
        look(&mut seen, now.0.saturating_sub(last.0));
        last = now;
    }
    seen.spun_ns = last.0.saturating_sub(began.0);
    seen
}

/// Counts one look, `gap_ns` after the one before.
fn look(seen: &mut NoiseRecord, gap_ns: u64) {
    seen.looks += 1;
    if gap_ns > GAP_NS {
        seen.gaps += 1;
        seen.lost_ns += gap_ns;
        seen.longest_ns = seen.longest_ns.max(gap_ns);
    }
}

/// What the control saw, in a line.
pub(super) fn in_words(seen: &[NoiseRecord]) -> Option<String> {
    let sum = |figure: fn(&NoiseRecord) -> u64| seen.iter().map(figure).sum::<u64>();
    let (spun, lost) = (sum(|n| n.spun_ns), sum(|n| n.lost_ns));
    if spun == 0 {
        return None;
    }
    let per_mille = lost.saturating_mul(1_000) / spun;
    let longest = seen.iter().map(|n| n.longest_ns).max().unwrap_or(0);
    Some(format!(
        "Noise: a control that only spins lost {}.{} % of {} to others, in {} gaps above {}, the longest {}.",
        per_mille / 10,
        per_mille % 10,
        stats::ns(spun),
        sum(|n| u64::from(n.gaps)),
        stats::ns(GAP_NS),
        stats::ns(longest),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_gaps_are_noise() {
        let mut seen = NoiseRecord::default();
        for gap in [50, GAP_NS, GAP_NS + 1, 40_000] {
            look(&mut seen, gap);
        }
        assert_eq!((seen.looks, seen.gaps), (4, 2));
        assert_eq!((seen.lost_ns, seen.longest_ns), (GAP_NS + 1 + 40_000, 40_000));
    }

    #[test]
    fn it_spins_for_as_long_as_it_was_told() {
        let span = Duration::from_micros(50);
        let seen = spin(7, span);
        assert!(u128::from(seen.spun_ns) >= span.as_nanos() && seen.looks > 0);
        assert_eq!(seen.block, 7);
    }

    #[test]
    fn the_sum_is_in_words() {
        let one = NoiseRecord {
            spun_ns: 1_000_000,
            gaps: 1,
            lost_ns: 20_000,
            longest_ns: 20_000,
            ..NoiseRecord::default()
        };
        let words = in_words(&[one, one]).unwrap();
        assert!(
            words.contains("lost 2.0 % of 2.00 ms") && words.contains("2 gaps"),
            "{words}"
        );
        assert_eq!(in_words(&[]), None);
    }
}
