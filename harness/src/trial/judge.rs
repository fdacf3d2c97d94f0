//! From a verdict and the truth to an outcome, and from an outcome and an expectation to "held".
//! Pure.

use crate::expect::{Canary, Expectation, KillExpectation};
use crate::record::Outcome;
use crate::record::Verdict;

/// What is known about the end of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Truth {
    /// The last exit stamp: something was alive until then.
    pub(super) lower_ns: Option<u64>,
    /// The first independent sign that all had ended. Absent: not seen before the harness gave up.
    pub(super) upper_ns: Option<u64>,
    /// Something was seen alive right after the detector had said "empty".
    pub(super) witness: bool,
    /// The bounds were seen from outside, and not stamped by the workload: what is decided between
    /// them may be right or early.
    pub(super) from_outside: bool,
}

impl Truth {
    /// Whether it is not known if something was alive then.
    fn leaves_open(self, at_ns: u64) -> bool {
        self.from_outside
            && self.lower_ns.is_none_or(|lower| lower <= at_ns)
            && self.upper_ns.is_some_and(|upper| at_ns < upper)
    }
}

/// The outcome of a detector's verdict.
pub(super) fn outcome(verdict: &Verdict, truth: Truth) -> Outcome {
    match verdict {
        Verdict::Empty { decided_ns, .. } => {
            let lived_on =
                truth.lower_ns.is_some_and(|lower| *decided_ns < lower) || truth.upper_ns.is_none();
            if lived_on || truth.witness {
                Outcome::Early
            } else if truth.leaves_open(*decided_ns) {
                Outcome::CannotTell
            } else {
                Outcome::Right
            }
        }
        Verdict::SiteRemoved { .. } => Outcome::Removed,
        Verdict::Unknown { .. } => Outcome::Unknown,
        Verdict::DeadlinePassed { at_ns } if truth.leaves_open(*at_ns) => Outcome::CannotTell,
        Verdict::DeadlinePassed { at_ns } => {
            let stamped = truth.lower_ns.filter(|_| !truth.from_outside);
            match truth.upper_ns.and(stamped.or(truth.upper_ns)) {
                Some(over) if over < *at_ns => Outcome::Missed,
                _ => Outcome::StillRunning,
            }
        }
    }
}

/// Whether a detector did as expected, and the expectation in words and as a name.
pub(super) fn held(
    expected: Expectation,
    outcome: Outcome,
    loses_on_removal: bool,
) -> (bool, String, &'static str) {
    use Outcome::{CannotTell, Early, Missed, Removed, Right, StillRunning, Unknown};
    let (ok, why) = match expected {
        Expectation::Sound => (outcome == Right, None),
        Expectation::Early(why) => (outcome == Early, Some(why)),
        Expectation::MayBeEarly(why) => (matches!(outcome, Early | Right), Some(why)),
        Expectation::NeverFires(why) => (matches!(outcome, Missed | StillRunning), Some(why)),
        Expectation::Removed(why) => (matches!(outcome, Removed | Unknown | Right), Some(why)),
        // A detector that claims to cope with a removal has to.
        Expectation::MayBeLost(why) => (
            matches!(outcome, Right | Removed | Unknown) || (outcome == Missed && loses_on_removal),
            Some(why),
        ),
        Expectation::SoundIfItEnds => (matches!(outcome, Right | CannotTell | StillRunning), None),
        Expectation::Open(why) | Expectation::NotApplicable(why) => (true, Some(why)),
    };
    (ok, in_words(expected.name(), why), expected.name())
}

/// A name with blanks, and the reason.
fn in_words(name: &str, why: Option<&str>) -> String {
    let words = name.replace('-', " ");
    why.map_or_else(|| words.clone(), |why| format!("{words}: {why}"))
}

/// Whether a strategy did as expected, and the expectation in words and as a name. An unexpected
/// hit of a canary always fails.
pub(super) fn kill_held(
    expected: KillExpectation,
    emptied: bool,
    hit: &[Canary],
    may_hit: &[Canary],
) -> (bool, String, &'static str) {
    let (ok, words) = match expected {
        KillExpectation::Empties => (emptied, "empties".to_owned()),
        KillExpectation::MaySurvive(why) => (true, format!("may leave survivors: {why}")),
        KillExpectation::Survives(why) => (!emptied, format!("leaves survivors: {why}")),
        KillExpectation::NotApplicable(why) => (true, format!("not applicable: {why}")),
    };
    (
        ok && hit.iter().all(|canary| may_hit.contains(canary)),
        words,
        expected.name(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: Truth = Truth {
        lower_ns: Some(100),
        upper_ns: Some(120),
        witness: false,
        from_outside: false,
    };

    fn empty_at(decided_ns: u64) -> Verdict {
        Verdict::Empty {
            woke_ns: decided_ns,
            decided_ns,
        }
    }

    #[test]
    fn early_is_before_the_last_stamp_or_beside_a_witness() {
        assert_eq!(outcome(&empty_at(99), OVER), Outcome::Early);
        assert_eq!(
            outcome(&empty_at(100), OVER),
            Outcome::Right,
            "inside the interval it cannot be called early"
        );
        assert_eq!(
            outcome(
                &empty_at(500),
                Truth {
                    witness: true,
                    ..OVER
                }
            ),
            Outcome::Early
        );
        assert_eq!(
            outcome(
                &empty_at(500),
                Truth {
                    upper_ns: None,
                    ..OVER
                }
            ),
            Outcome::Early,
            "it never ended"
        );
    }

    #[test]
    fn between_the_bounds_of_an_outsider_it_cannot_be_told() {
        let seen = Truth {
            from_outside: true,
            ..OVER
        };
        let silent = |at_ns| Verdict::DeadlinePassed { at_ns };
        for (at, said, waited) in [
            (99, Outcome::Early, Outcome::StillRunning),
            (100, Outcome::CannotTell, Outcome::CannotTell),
            (119, Outcome::CannotTell, Outcome::CannotTell),
            (120, Outcome::Right, Outcome::StillRunning),
            (121, Outcome::Right, Outcome::Missed),
        ] {
            assert_eq!(outcome(&empty_at(at), seen), said, "{at}");
            assert_eq!(outcome(&silent(at), seen), waited, "{at}");
        }
        let never_seen = Truth {
            lower_ns: None,
            ..seen
        };
        assert_eq!(outcome(&empty_at(1), never_seen), Outcome::CannotTell);
        let lives = Truth {
            upper_ns: None,
            ..seen
        };
        assert_eq!(outcome(&empty_at(500), lives), Outcome::Early);
        assert_eq!(outcome(&silent(500), lives), Outcome::StillRunning);
    }

    #[test]
    fn of_a_program_no_early_verdict_and_no_miss_is_expected_where_the_scope_sees_it() {
        let sound = |outcome| held(Expectation::SoundIfItEnds, outcome, true).0;
        assert!(
            [Outcome::Right, Outcome::CannotTell, Outcome::StillRunning]
                .into_iter()
                .all(sound)
        );
        assert!(
            ![Outcome::Early, Outcome::Missed, Outcome::Unknown]
                .into_iter()
                .any(sound)
        );
        let (ok, words, name) = held(Expectation::Open("x"), Outcome::Early, false);
        assert!(ok && words == "none: x" && name == "none");
    }

    #[test]
    fn silence_is_a_miss_only_if_all_was_over() {
        let silent = Verdict::DeadlinePassed { at_ns: 110 };
        assert_eq!(outcome(&silent, OVER), Outcome::Missed);
        assert_eq!(
            outcome(
                &silent,
                Truth {
                    lower_ns: Some(111),
                    ..OVER
                }
            ),
            Outcome::StillRunning
        );
        assert_eq!(
            outcome(
                &silent,
                Truth {
                    upper_ns: None,
                    ..OVER
                }
            ),
            Outcome::StillRunning
        );
    }

    #[test]
    fn expectations_hold_both_ways() {
        assert!(held(Expectation::Sound, Outcome::Right, false).0);
        assert!(!held(Expectation::Sound, Outcome::Early, false).0);
        assert!(
            !held(Expectation::Early("x"), Outcome::Right, false).0,
            "a naive detector that is right is a surprise"
        );
        assert!(held(Expectation::MayBeLost("x"), Outcome::Missed, true).0);
        assert!(
            !held(Expectation::MayBeLost("x"), Outcome::Missed, false).0,
            "it claims to survive a removal"
        );
        assert!(!kill_held(KillExpectation::Survives("x"), true, &[], &[]).0);
        assert!(!kill_held(KillExpectation::Empties, true, &[Canary::SameUid], &[]).0);
        assert!(
            kill_held(
                KillExpectation::Empties,
                true,
                &[Canary::SameUid],
                &[Canary::SameUid]
            )
            .0
        );
    }
}
