//! Traced campaigns: whether they are possible here, and the sums of their stages.

use std::collections::BTreeMap;

use anyhow::anyhow;
use harness::host::features;
use harness::host::{Host, Support};
use harness::record::{TrialRecord, Verdict};

use super::super::exit::Failure;
use super::super::output::Output;
use super::super::stats::{self, Sample};

/// The feature that tracing needs.
const TRACEPOINTS: &str = "tracepoints";

/// An error, with the reason and a remedy, unless the kernel's tracepoints may be listened to.
pub(super) fn may_be_traced(host: &Host) -> Result<(), Failure> {
    let feature = features::by_name(TRACEPOINTS).map_err(|e| anyhow!(e))?;
    match feature.probe(host) {
        Ok(Support::Available) => Ok(()),
        Ok(Support::Missing { why, remedy }) => {
            Err(Failure::missing(anyhow!("--trace: {why}; {remedy}")))
        }
        Err(e) => Err(Failure::missing(anyhow!("--trace: the probe failed: {e}"))),
    }
}

/// The steps between two neighbouring stages.
const STEPS: [&str; 5] = [
    "stamp > exit",
    "> flip",
    "> waking",
    "> running",
    "> decided",
];

/// One line for each pair that was traced: the median of each step, over the trials in which both
/// its ends were seen.
pub(super) fn in_words(output: &Output) -> anyhow::Result<Vec<String>> {
    let mut pairs: BTreeMap<(String, String), [Vec<u64>; STEPS.len()]> = BTreeMap::new();
    for trial in output.trials() {
        let trial = trial?;
        if let Some(steps) = steps(&trial) {
            let of_pair = pairs.entry((trial.scenario, trial.detector)).or_default();
            for (all, step) in of_pair.iter_mut().zip(steps) {
                all.extend(step);
            }
        }
    }
    let lines = pairs.into_iter().map(|((scenario, detector), steps)| {
        let steps = STEPS.iter().zip(steps).filter_map(|(name, all)| {
            let median = Sample::new(all, 0).percentile(50).value()?;
            Some(format!("{name} {}", stats::ns(median)))
        });
        let steps: Vec<String> = steps.collect();
        format!(
            "Stages of {detector} on {scenario} (p50 each): {}.",
            steps.join(", ")
        )
    });
    Ok(lines.collect())
}

/// The steps of one trial. A stage that was not seen leaves out the step to it, and the next begins
/// at the last one seen.
fn steps(trial: &TrialRecord) -> Option<[Option<u64>; STEPS.len()]> {
    let stages = trial.stages.as_ref()?;
    let decided = match &trial.verdict {
        Some(Verdict::Empty { decided_ns, .. }) => Some(*decided_ns),
        _ => None,
    };
    let mut before = trial.stamps.over_lower_ns?;
    let ends = [
        stages.exit_ns,
        stages.flip_ns,
        stages.waking_ns,
        stages.running_ns,
        decided,
    ];
    Some(ends.map(|end| {
        let step = end?.checked_sub(before);
        before = end?;
        step
    }))
}
