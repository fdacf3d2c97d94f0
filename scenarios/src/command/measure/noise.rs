//! Machine noise, measured by itself: a control that only spins and reads the clock. Time that it
//! misses was used by something else.

use std::time::Duration;

use harness::record::{NoiseRecord, SCHEMA};
use harness::sys::time;

use super::super::stats;

/// A gap between two reads of the clock that is longer than this was not caused by the control
/// itself.
const GAP_NS: u64 = 10_000;

/// The machine is quiet when a control loses at most this share of its time to others.
pub(in super::super) const QUIET_PERMILLE: u64 = 50;

/// Time between two spins while waiting for a quiet machine.
const REST: Duration = Duration::from_millis(100);

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

/// Spins before `block`, and then waits until the machine is quiet, for at most `patience` or until
/// `interrupted`.
///
/// Returns the first spin: a later one is quiet because it was waited for, and says nothing about
/// the campaign.
pub(in super::super) fn before_block(
    block: u32,
    span: Duration,
    patience: Duration,
    mut interrupted: impl FnMut() -> bool,
) -> NoiseRecord {
    let first = spin(block, span);
    let began = time::now();
    let until = began + patience;
    let mut last = first;
    while last.lost_permille() > QUIET_PERMILLE && time::now() < until && !interrupted() {
        let next = until.min(time::now() + REST);
        // An interruption only makes the next spin come sooner.
        while time::sleep_until(next).is_err() && !interrupted() {}
        last = spin(block, span);
    }
    let waited_ns = match last == first {
        true => 0,
        false => time::now()
            .since(began)
            .as_nanos()
            .try_into()
            .unwrap_or(u64::MAX),
    };
    NoiseRecord { waited_ns, ..first }
}

/// Counts one read, `gap_ns` after the previous one.
fn look(seen: &mut NoiseRecord, gap_ns: u64) {
    seen.looks += 1;
    if gap_ns > GAP_NS {
        seen.gaps += 1;
        seen.lost_ns += gap_ns;
        seen.longest_ns = seen.longest_ns.max(gap_ns);
    }
}

/// The result of the control, in a line.
pub(super) fn in_words(seen: &[NoiseRecord]) -> Option<String> {
    let sum = |figure: fn(&NoiseRecord) -> u64| seen.iter().map(figure).sum::<u64>();
    let (spun, lost) = (sum(|n| n.spun_ns), sum(|n| n.lost_ns));
    if spun == 0 {
        return None;
    }
    let per_mille = lost.saturating_mul(1_000) / spun;
    let waited = sum(|n| n.waited_ns);
    let longest = seen.iter().map(|n| n.longest_ns).max().unwrap_or(0);
    let label = match per_mille > QUIET_PERMILLE {
        true => " This campaign is loaded: its figures are those of a busy machine.",
        false => "",
    };
    Some(format!(
        "Noise: a control that only spins lost {}.{} % of {} to others, in {} gaps above {}, the \
            longest {}; {} was spent waiting for quiet.{label}",
        per_mille / 10,
        per_mille % 10,
        stats::ns(spun),
        sum(|n| u64::from(n.gaps)),
        stats::ns(GAP_NS),
        stats::ns(longest),
        stats::ns(waited),
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
        assert_eq!(
            (seen.lost_ns, seen.longest_ns),
            (GAP_NS + 1 + 40_000, 40_000)
        );
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
        assert!(!words.contains("loaded"), "{words}");
        assert_eq!(in_words(&[]), None);
    }

    #[test]
    fn a_loaded_campaign_is_called_loaded() {
        let one = NoiseRecord {
            spun_ns: 1_000_000,
            lost_ns: 51_000,
            ..NoiseRecord::default()
        };
        assert!(in_words(&[one]).unwrap().contains("loaded"));
    }

    #[test]
    fn waiting_for_quiet_ends_and_does_not_change_what_was_seen() {
        // Nothing is waited for without patience, and not after an interruption either.
        let span = Duration::from_micros(50);
        assert_eq!(before_block(3, span, Duration::ZERO, || false).waited_ns, 0);
        let seen = before_block(3, span, Duration::from_secs(3_600), || true);
        assert_eq!((seen.block, seen.waited_ns), (3, 0));
    }
}
