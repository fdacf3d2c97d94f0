//! Random trees through every sound mechanism of this machine: a detector is never early and always
//! tells, a strategy leaves nobody and hits no stranger.
//!
//! The ordinary tests play [`ORDINARY`] new trees through each mechanism. At length, resumable:
//!
//! ```sh
//! RANDOM_TREES=2000 RANDOM_TREES_MINUTES=60 cargo test --workspace --test kernel -- random::
//! ```
//!
//! plays the trees of the seeds 0 to 1999 through each. When the minutes (optional) are over, tests
//! stop where they are and say so; the same command goes on there. `target/tmp/random-trees/done`
//! has the numbers; remove it to begin again. A tree that fails is made smaller, printed, and kept
//! beside it; kept trees are played first from then on.

mod failure;
mod length;
mod trees;

use std::ops::Range;

use harness::detect::{AnyDetector, DETECTORS};
use harness::kill::{AnyStrategy, STRATEGIES};
use harness::record::TrialRecord;
use harness::trial::TrialSpec;
use scenarios::Script;

use super::common::{Test, ensure, reference, start};
use super::needs::{CGROUP2_WRITE, PIDS_LIMIT};
use length::Length;

pub(crate) use trees::is_sound;

/// Trees for each mechanism in the ordinary tests.
const ORDINARY: u64 = 32;

/// So many trials share a run; then it is checked that nothing is left behind.
const EACH_RUN: usize = 250;

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let detectors = DETECTORS.iter().filter(|d| trees::is_sound(d.spec()));
    let detectors = detectors.map(|d| (d.spec().id, Mechanism::Detector(*d)));
    let strategies = STRATEGIES.iter().filter(|s| s.spec().claims_sound);
    let strategies = strategies.map(|s| (s.spec().id, Mechanism::Strategy(*s)));
    let all_end = Test::new("random::every_tree_ends_by_itself", &[], trees_end);
    detectors
        .chain(strategies)
        .map(|(id, mechanism)| {
            let name = match mechanism {
                Mechanism::Detector(_) => format!("random::never_early_always_told::{id}"),
                Mechanism::Strategy(_) => format!("random::nobody_left_no_stranger_hit::{id}"),
            };
            Test::new(name, &[CGROUP2_WRITE, PIDS_LIMIT, id], move || {
                mechanism.test()
            })
        })
        .chain([all_end])
        .collect()
}

/// The trees of a long run, in the model alone: they differ for these three detectors.
fn trees_end() -> Result<(), String> {
    for id in ["cgroup-rmdir-probe", "proc-connector", "subreaper"] {
        let detector = harness::detect::by_id(id).ok_or("not registered")?;
        for seed in 0..2_000 {
            trees::to_watch(seed, detector.spec())?;
        }
    }
    Ok(())
}

/// What the trees go through.
#[derive(Clone, Copy, Debug)]
enum Mechanism {
    Detector(AnyDetector),
    Strategy(AnyStrategy),
}

impl Mechanism {
    fn id(self) -> &'static str {
        match self {
            Self::Detector(detector) => detector.spec().id,
            Self::Strategy(strategy) => strategy.spec().id,
        }
    }

    fn test(self) -> Result<(), String> {
        let kept = failure::kept(self.id())?;
        if let Some((script, record)) = self.first_that_fails(&kept)? {
            return Err(failure::explain(self, script, &record));
        }
        let length = Length::of(self.id(), ORDINARY)?;
        let mut at = length.seeds.start;
        while at < length.seeds.end && !length.is_over() {
            let some = at..length.seeds.end.min(at + EACH_RUN as u64);
            let trees = self.trees(some.clone())?;
            if let Some((script, record)) = self.first_that_fails(&trees)? {
                return Err(failure::explain(self, script, &record));
            }
            at = some.end;
            length.done(at)?;
        }
        length.say(at);
        Ok(())
    }

    fn trees(self, seeds: Range<u64>) -> Result<Vec<Script>, String> {
        seeds
            .map(|seed| match self {
                Self::Detector(detector) => trees::to_watch(seed, detector.spec()),
                Self::Strategy(strategy) => trees::to_kill(seed, strategy),
            })
            .collect()
    }

    /// Whether a smaller tree is one that it could have been given.
    fn takes(self, script: &Script) -> bool {
        match self {
            Self::Detector(_) => script.ends_by_itself(),
            Self::Strategy(_) => trees::says_ready(script),
        }
    }

    /// Plays the trees in a run of their own; returns the first that is not as expected.
    fn first_that_fails(self, trees: &[Script]) -> Result<Option<(Script, TrialRecord)>, String> {
        if trees.is_empty() {
            return Ok(None);
        }
        let mut run = start();
        let mut played = || -> Result<_, String> {
            for (seq, script) in (0..).zip(trees) {
                let mut spec = self.spec(script)?;
                spec.seq = seq;
                let record = run.trial(&spec).map_err(|e| e.to_string())?;
                if !record.held {
                    return Ok(Some((script.clone(), record)));
                }
            }
            Ok(None)
        };
        let played = played();
        let leaks = run.finish().map_err(|e| e.to_string())?;
        ensure(leaks.is_clean(), || format!("{}: {leaks}", self.id()))?;
        played
    }

    fn spec<'a>(self, script: &Script) -> Result<TrialSpec<'a>, String> {
        match self {
            Self::Detector(detector) => trees::trial(script, detector, None),
            Self::Strategy(strategy) => trees::trial(script, reference(), Some(strategy)),
        }
    }
}
