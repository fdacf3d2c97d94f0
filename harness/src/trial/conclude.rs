//! From what was seen to a conclusion: outcome, expectation, held.

use super::broken::Broken;
use super::judge::{self, Truth};
use super::play::Seen;
use super::reaper::Ending;
use super::{Expected, TrialSpec};
use crate::expect::Canary;
use crate::record::{Cause, Outcome, TrialRecord};

/// Draws the conclusion: outcome, expectation, held.
pub(super) fn conclude(
    spec: &TrialSpec<'_>,
    ending: Option<Ending>,
    record: &mut TrialRecord,
    seen: &mut Seen,
    hit: Vec<Canary>,
) {
    if let Some(Ending::Guard(pid)) = ending {
        seen.broken = Some(Broken::new(
            Cause::GuardKilled,
            format!("a guard of the run (process {pid}) was killed, so the run was ended"),
        ));
    } else if seen.interrupted {
        record.outcome = Outcome::Interrupted;
        record.note = Some("the run was interrupted during this trial".to_owned());
        return;
    }
    if let Some(Broken { cause, what }) = seen.broken.take() {
        record.outcome = Outcome::Broken;
        record.cause = Some(cause);
        record.note = Some(what);
        // Nothing that was seen in such a trial counts for or against a mechanism.
        record.survivors.clear();
        return;
    }
    record.canaries_hit = hit;
    let hit = &record.canaries_hit;
    let stamps = &record.stamps;
    let truth = Truth {
        lower_ns: stamps.over_lower_ns,
        upper_ns: stamps.over_upper_ns,
        witness: seen.witness.is_some(),
    };
    let (held, expected, expectation) = match (spec.expected, &record.verdict) {
        (Expected::Detect(expected), Some(verdict)) => {
            record.outcome = judge::outcome(verdict, truth);
            judge::held(
                expected,
                record.outcome,
                spec.detector.spec().loses_on_removal,
            )
        }
        (Expected::Detect(_), None) => (false, "a verdict".to_owned(), "a-verdict"),
        (Expected::Kill(expected), _) => {
            let emptied = stamps.unpopulated_ns.is_some();
            record.outcome = if emptied {
                Outcome::Emptied
            } else {
                Outcome::Survived
            };
            let may_hit: Vec<Canary> = spec
                .strategy
                .map_or(&[][..], |s| s.spec().may_hit)
                .iter()
                .copied()
                .map(crate::kill::canary)
                .collect();
            judge::kill_held(expected, emptied, hit, &may_hit)
        }
    };
    record.held = held;
    record.expected = expected;
    record.expectation = Some(expectation.to_owned());
    if let Some(pid) = seen.witness {
        record.note = Some(format!(
            "process {pid} was alive when the detector said \"empty\""
        ));
    } else if !held && !hit.is_empty() {
        record.note = Some(format!("canaries hit: {hit:?}"));
    }
}
