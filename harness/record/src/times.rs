//! How long a kill took, from what one trial recorded.
//!
//! The clock starts at the *decision*, when the strategy is asked to kill, and not at its first
//! signal: the time in which a strategy freezes the tree or waits counts, because the tree lives on
//! meanwhile.
//!
//! ```text
//! decision ......... first signal ......... populated 0 ......... verdict
//!          holding                 dying                 knowing
//!          `----------- to empty -----------'
//! ```

use super::{Outcome, TrialRecord, Verdict};

/// The kill of one trial in time. What does not apply, or was not seen, is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KillTimes {
    /// From the decision to the oracle's first `populated 0`: what strategies are compared by.
    pub to_empty: Option<Elapsed>,
    /// Its first part: from the decision to the moment just before the first signal, or the first
    /// write that signals.
    pub holding_ns: Option<u64>,
    /// Its second part: from that moment to the oracle's first `populated 0`.
    pub dying_ns: Option<u64>,
    /// The part after it: from `populated 0`, or from the strategy's return if that is later, to
    /// the verdict of the detector that watched. The oracle reads at intervals, so a detector may
    /// be ahead of it: that counts as zero.
    pub knowing: Option<Elapsed>,
}

/// A duration that may be longer than the time that was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Elapsed {
    /// Nanoseconds.
    Ns(u64),
    /// It had not ended by the deadline.
    Beyond,
}

impl Elapsed {
    /// The duration, if it ended.
    pub fn ns(self) -> Option<u64> {
        match self {
            Self::Ns(ns) => Some(ns),
            Self::Beyond => None,
        }
    }
}

impl KillTimes {
    /// For a trial that was allowed `deadline_ns` (`deadline_ns` of its plan; `u64::MAX` if that is
    /// not known). All strategies are cut off at that time after the decision, even one that goes
    /// on trying for longer. A broken or interrupted trial has no times, nor has one in which
    /// nothing was killed.
    pub fn of(trial: &TrialRecord, deadline_ns: u64) -> Self {
        let Some(kill) = &trial.kill else {
            return Self::default();
        };
        let first_signal = Some(kill.first_signal_ns).filter(|at| *at > 0);
        let decision = trial
            .stamps
            .ready_ns
            .or(Some(kill.begun_ns).filter(|at| *at > 0))
            .or(first_signal);
        let empty = trial.stamps.unpopulated_ns;
        let since = |from: Option<u64>, to: Option<u64>| Some(to?.saturating_sub(from?));
        let within = |ns: u64| match ns <= deadline_ns {
            true => Elapsed::Ns(ns),
            false => Elapsed::Beyond,
        };
        match trial.outcome {
            Outcome::Survived => Self {
                to_empty: Some(Elapsed::Beyond),
                holding_ns: since(decision, first_signal),
                ..Self::default()
            },
            Outcome::Emptied => Self {
                to_empty: since(decision, empty).map(within),
                holding_ns: since(decision, first_signal),
                dying_ns: since(first_signal, empty),
                knowing: match (&trial.verdict, empty) {
                    (Some(Verdict::Empty { decided_ns, .. }), Some(empty)) => Some(Elapsed::Ns(
                        decided_ns.saturating_sub(empty.max(kill.issued_ns)),
                    )),
                    (Some(Verdict::DeadlinePassed { .. }), Some(_)) => Some(Elapsed::Beyond),
                    _ => None,
                },
            },
            _ => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KillReport, Stamps};

    /// Decided at 1 000, signalled at 1 300, over at 1 500, known at 1 900; the strategy returned
    /// at 1 600.
    fn trial() -> TrialRecord {
        let line = r#"{"schema":1,"run":"r","seq":0,"plane":"kill","scenario":"forkbomb","detector":"d","strategy":"freeze-kill","params":{},
            "seed":1,"entry":"born","stamps":{},"verdict":{"kind":"empty","woke_ns":1850,"decided_ns":1900},"outcome":"emptied","expected":"",
            "held":true,"note":null,"counters":{"wakeups":1,"spurious":0,"reads":2,"overflows":0,"reaped":0,"prepare_ns":0},"cpu_ns":null,
            "ledger":{"births":1,"deaths":0,"refused":0},"kill":null,"survivors":[],"canaries_hit":[],"errors":[]}"#;
        let record: TrialRecord = serde_json::from_str(line).unwrap();
        TrialRecord {
            stamps: Stamps {
                ready_ns: Some(1_000),
                unpopulated_ns: Some(1_500),
                ..Stamps::default()
            },
            kill: Some(KillReport {
                begun_ns: 1_010,
                held_ns: Some(1_250),
                first_signal_ns: 1_300,
                last_signal_ns: 1_400,
                issued_ns: 1_600,
                ..KillReport::default()
            }),
            ..record
        }
    }

    #[test]
    fn the_clock_starts_at_the_decision_and_the_parts_add_up() {
        let times = KillTimes::of(&trial(), 10_000);
        assert_eq!(times.to_empty, Some(Elapsed::Ns(500)));
        assert_eq!((times.holding_ns, times.dying_ns), (Some(300), Some(200)));
        assert_eq!(
            times.knowing,
            Some(Elapsed::Ns(300)),
            "after the strategy's return"
        );
        let old = TrialRecord {
            stamps: Stamps {
                ready_ns: None,
                ..trial().stamps
            },
            ..trial()
        };
        assert_eq!(
            KillTimes::of(&old, 10_000).to_empty,
            Some(Elapsed::Ns(490)),
            "begun_ns"
        );
    }

    #[test]
    fn all_are_cut_off_at_the_same_time_after_the_decision() {
        // It held for so long that only the time since its first signal is within the deadline.
        let times = KillTimes::of(&trial(), 400);
        assert_eq!(
            (times.to_empty, times.dying_ns),
            (Some(Elapsed::Beyond), Some(200))
        );
        let survived = TrialRecord {
            outcome: Outcome::Survived,
            ..trial()
        };
        assert_eq!(
            KillTimes::of(&survived, 10_000).to_empty,
            Some(Elapsed::Beyond)
        );
    }

    #[test]
    fn what_is_broken_or_not_known_has_no_time() {
        for outcome in [Outcome::Broken, Outcome::Interrupted] {
            let trial = TrialRecord { outcome, ..trial() };
            assert_eq!(KillTimes::of(&trial, 10_000), KillTimes::default());
        }
        let unwatched = TrialRecord {
            verdict: Some(Verdict::DeadlinePassed { at_ns: 9_000 }),
            ..trial()
        };
        assert_eq!(
            KillTimes::of(&unwatched, 10_000).knowing,
            Some(Elapsed::Beyond)
        );
    }
}
