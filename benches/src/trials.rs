//! Trials as figures: the cost of each, and how many have none.

use std::time::Duration;

use criterion::Bencher;
use harness::detect::{self, AnyDetector};
use harness::expect::{Expectation, KillExpectation, Plane};
use harness::kill::AnyStrategy;
use harness::param;
use harness::record::{Outcome, TrialRecord, Verdict};
use harness::trial::{Conditions, Expected, Limits, Stage, TrialSpec, Workload};

use crate::{Frame, left_out};

/// The detector that watches kills, as in recorded trials.
const REFERENCE_DETECTOR: &str = "cgroup-events-poll";

/// After which time a trial has no figure of its own: it then counts with this one.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// A trial at the default point of its axes. It is a benchmark, so nothing is expected of its
/// outcome.
pub fn spec<'a>(
    seq: u32,
    workload: Workload,
    detector: AnyDetector,
    strategy: Option<AnyStrategy>,
) -> TrialSpec<'a> {
    let plane = if strategy.is_some() {
        Plane::Kill
    } else {
        Plane::Detect
    };
    let axes = detector.spec().axes.iter();
    let axes = axes.chain(strategy.iter().flat_map(|s| s.spec().axes));
    TrialSpec {
        seq,
        scenario: "benchmark",
        workload,
        stage: Stage {
            says_ready: strategy.is_some(),
            ..Stage::default()
        },
        params: param::defaults(axes, plane),
        seed: 0,
        detector,
        strategy,
        expected: match plane {
            Plane::Detect => Expected::Detect(Expectation::MayBeEarly(
                "nothing is expected of a benchmark",
            )),
            Plane::Kill => Expected::Kill(KillExpectation::MaySurvive(
                "nothing is expected of a benchmark",
            )),
        },
        deadline: DEADLINE,
        limits: Limits {
            tasks: 128,
            ..Limits::default()
        },
        // As in recorded trials: without a gap, one trial pays for the grace periods of another.
        gap: Duration::from_millis(20),
        conditions: Conditions::default(),
    }
}

/// The detector of the kill plane. Panics if it is not registered.
pub fn reference() -> AnyDetector {
    detect::by_id(REFERENCE_DETECTOR).expect("the reference detector is registered")
}

/// From just before the spawn to the verdict. `None`: it did not say "empty".
pub fn spawn_to_verdict(record: &TrialRecord) -> Option<Duration> {
    match (&record.verdict, record.stamps.spawn_ns) {
        (Some(Verdict::Empty { decided_ns, .. }), Some(spawn_ns)) => between(spawn_ns, *decided_ns),
        _ => None,
    }
}

/// From the moment when the strategy begins to act (to freeze, to look, to signal) to `populated
/// 0`, which is looked for every 200 us. `None`: something was left.
pub fn act_to_unpopulated(record: &TrialRecord) -> Option<Duration> {
    match (record.outcome, &record.kill, record.stamps.unpopulated_ns) {
        (Outcome::Emptied, Some(kill), Some(over)) => between(kill.begun_ns, over),
        _ => None,
    }
}

fn between(from_ns: u64, to_ns: u64) -> Option<Duration> {
    to_ns.checked_sub(from_ns).map(Duration::from_nanos)
}

/// How a trial ended that has no figure, in words.
pub fn in_words(record: &TrialRecord) -> String {
    let outcome = format!("{:?}", record.outcome).to_lowercase();
    match (&record.note, record.survivors.len()) {
        (Some(note), _) => format!("{outcome}: {note}"),
        (None, 0) => outcome,
        (None, n) => format!("{outcome}: {n} processes were left"),
    }
}

/// Repeats trials of `play` and sums up their figures. A trial without one counts as [`DEADLINE`],
/// with a message.
pub fn repeat(
    bencher: &mut Bencher<'_>,
    frame: &mut Frame<'_>,
    name: &str,
    play: &mut dyn FnMut(&mut Frame<'_>) -> TrialRecord,
    figure: fn(&TrialRecord) -> Option<Duration>,
) {
    bencher.iter_custom(|times| {
        let mut sum = Duration::ZERO;
        for _ in 0..times {
            let record = play(frame);
            sum += figure(&record).unwrap_or_else(|| {
                left_out(
                    format_args!("one trial of {name}, which counts as {DEADLINE:?}"),
                    in_words(&record),
                );
                DEADLINE
            });
        }
        sum
    });
}
