//! Whether the records match their plan and are possible at all: the checks of `scenario measure
//! --resume`, and more.

use anyhow::{Context, Result, bail, ensure};
use harness_record::{Outcome, TrialRecord};
use serde_json::Value;

use super::SiteCost;
use super::plan::Plan;

/// How much longer than its deadline a trial may have taken in all: setting up, a tree that takes
/// long to grow, cleaning up.
const SPAN_NS: u64 = 600_000_000_000;

/// An error, with the line of the file, unless the trials are a beginning of the plan and their
/// stamps can be true.
pub(super) fn trials(plan: &Plan, trials: &[TrialRecord]) -> Result<()> {
    ensure!(
        !plan.blocks.is_empty(),
        "plan.json has no blocks, so nothing says in which order the trials were to be run"
    );
    let mut order = plan.order();
    let mut before: Option<&TrialRecord> = None;
    for (line, trial) in (1..).zip(trials) {
        let Some((seq, block, script_seed, row)) = order.next() else {
            bail!("line {line} of trials.jsonl is one trial more than the plan has");
        };
        let planned = plan.rows.get(row).with_context(|| {
            format!("block {block} of plan.json names row {row}, which it does not have")
        })?;
        let detector = match planned.detectors.is_empty() {
            true => &planned.detector,
            false => &planned.detectors[block % planned.detectors.len()],
        };
        let as_planned = usize::try_from(trial.seq) == Ok(seq)
            && trial.block.and_then(|block| usize::try_from(block).ok()) == Some(block)
            && trial.seed == script_seed
            && trial.plane == planned.plane
            && trial.scenario == planned.scenario
            && trial.detector == *detector
            && trial.strategy == planned.strategy
            && trial.twin == planned.twin
            && trial.params == planned.params;
        ensure!(
            as_planned,
            "line {line} of trials.jsonl is not trial {seq} of the plan"
        );
        if let Some(why) = impossible(plan, trial, before) {
            bail!("line {line} of trials.jsonl has impossible stamps: {why}");
        }
        before = Some(trial);
    }
    if let Some(last) = trials
        .last()
        .filter(|last| last.outcome == Outcome::Interrupted)
    {
        bail!(
            "the last line of trials.jsonl is a trial that was interrupted (number {}): go on with \
                `scenario measure --resume DIR`",
            last.seq
        );
    }
    Ok(())
}

/// What is impossible, if anything is.
fn impossible(plan: &Plan, trial: &TrialRecord, before: Option<&TrialRecord>) -> Option<String> {
    let (stamps, kill) = (&trial.stamps, trial.kill.as_ref());
    let seen = |at: u64| Some(at).filter(|at| *at > 0);
    let begun = kill.and_then(|kill| seen(kill.begun_ns));
    let first = kill.and_then(|kill| seen(kill.first_signal_ns));
    let last = kill.and_then(|kill| seen(kill.last_signal_ns));
    let decided = match &trial.verdict {
        Some(harness_record::Verdict::Empty { decided_ns, .. }) => Some(*decided_ns),
        _ => None,
    };
    let ordered = [
        ("armed", stamps.armed_ns, "spawn", stamps.spawn_ns),
        ("spawn", stamps.spawn_ns, "spawned", stamps.spawned_ns),
        ("spawn", stamps.spawn_ns, "running", stamps.running_ns),
        ("spawn", stamps.spawn_ns, "ready", stamps.ready_ns),
        ("spawn", stamps.spawn_ns, "decided", decided),
        ("ready", stamps.ready_ns, "kill begun", begun),
        ("kill begun", begun, "first signal", first),
        ("first signal", first, "last signal", last),
        (
            "over (lower)",
            stamps.over_lower_ns,
            "over (upper)",
            stamps.over_upper_ns,
        ),
        (
            "unpopulated",
            stamps.unpopulated_ns,
            "removed",
            stamps.removed_ns,
        ),
    ];
    for (earlier, a, later, b) in ordered {
        if let (Some(a), Some(b)) = (a, b)
            && a > b
        {
            return Some(format!("{earlier} ({a}) is after {later} ({b})"));
        }
    }
    if trial.outcome == Outcome::Right
        && let (Some(over), Some(decided)) = (stamps.over_lower_ns, decided)
        && decided < over
    {
        return Some(format!(
            "it was right, and decided ({decided}) before the end ({over})"
        ));
    }
    // A strategy that never signalled leaves its end without a lower bound.
    let over_lower = stamps.over_lower_ns.and_then(seen);
    let all = [
        stamps.armed_ns,
        stamps.spawn_ns,
        stamps.running_ns,
        over_lower,
        stamps.over_upper_ns,
        stamps.unpopulated_ns,
        stamps.removed_ns,
        decided,
    ];
    let (first, last) = (all.iter().flatten().min()?, all.iter().flatten().max()?);
    let span = plan.deadline_ns.saturating_mul(4).saturating_add(SPAN_NS);
    if last - first > span {
        return Some(format!(
            "its first ({first}) and its last ({last}) are too far apart for one trial"
        ));
    }
    let same_run = before.filter(|before| before.run == trial.run);
    let (then, now) = (same_run.and_then(|t| t.stamps.armed_ns), stamps.armed_ns);
    match (then, now) {
        (Some(then), Some(now)) if now < then => {
            Some(format!("armed ({now}) before the trial before it ({then})"))
        }
        _ => None,
    }
}

/// The same for many sites: loop after loop, no more jobs than were planned.
pub(super) fn sites(plan: &Plan, sites: &[SiteCost]) -> Result<()> {
    ensure!(
        !plan.loops.is_empty(),
        "plan.json has no loops, so nothing says which sites were to be watched"
    );
    let mut current: Option<usize> = None;
    let mut jobs = 0;
    for (line, cost) in (1..).zip(sites) {
        let fits = |at: usize| {
            let planned = plan.loops.get(at);
            planned.is_some_and(|l| l.mechanism == cost.mechanism && l.sites == cost.sites)
        };
        if jobs == plan.jobs || !current.is_some_and(fits) {
            let next = current.map_or(0, |at| at + 1);
            ensure!(
                fits(next),
                "line {line} of scale.jsonl is not the next job of the plan"
            );
            (current, jobs) = (Some(next), 0);
        }
        jobs += 1;
    }
    Ok(())
}

/// An error if a document says that it is newer than `newest`.
pub(super) fn schema(name: &str, content: &[u8], newest: u32) -> Result<()> {
    let value: Value =
        serde_json::from_slice(content).with_context(|| format!("{name} is not JSON"))?;
    not_newer(name, &value, newest)
}

/// The same for a value that was read already; `what` names it.
pub(super) fn not_newer(what: &str, value: &Value, newest: u32) -> Result<()> {
    let schema = value["schema"].as_u64().unwrap_or(0);
    ensure!(
        schema <= u64::from(newest),
        "{what} has schema {schema}; this program reads up to {newest}"
    );
    Ok(())
}
