//! Tables of what watching costs, and where the time of a verdict goes.

use harness_record::Plane;
use harness_record::TrialRecord;
use harness_record::Verdict;

use super::text;
use crate::analysis::{Campaign, Cell};
use crate::stats::Sample;
use crate::summary::Scale;

/// What only a run with tracing has.
pub const STAGES_LEGEND: &str = "Medians of the stages, in a run of its own: tracing changes what \
    it measures. The mechanism's own delay is that from its state's flip to the waking of the \
    waiter.\n";

/// What it costs to watch while nothing happens; nothing if no watch was long enough to tell.
pub fn idle(campaign: &Campaign<'_>) -> Option<String> {
    let mut cells: Vec<&Cell<'_>> = campaign
        .plane(Plane::Detect)
        .filter(|cell| cell.row.idle_cpu_ns.is_some())
        .collect();
    // The cheapest first, and by name where they cost the same.
    cells.sort_by_key(|cell| (cell.row.label.clone(), cell.row.idle_cpu_ns, cell.name()));
    let lines: Vec<Vec<String>> = cells
        .into_iter()
        .map(|cell| {
            vec![
                cell.row.label.clone(),
                format!("`{}`", cell.name()),
                cell.row.n.to_string(),
                text::maybe_ns(cell.row.idle_cpu_ns),
                cell.row
                    .idle_wakeups
                    .map_or_else(|| "-".to_owned(), |w| w.to_string()),
                text::maybe_ns(cell.row.launch_ns),
            ]
        })
        .collect();
    let head = [
        "scenario",
        "detector",
        "n",
        "CPU for each second of waiting",
        "wake-ups meanwhile",
        "launch",
    ];
    (!lines.is_empty()).then(|| text::table(&head, &lines))
}

/// Medians of the stages of latency; nothing if nothing was traced.
pub fn stages(campaign: &Campaign<'_>) -> Option<String> {
    let lines: Vec<Vec<String>> = campaign.cells.iter().filter_map(stages_of).collect();
    let head = [
        "scenario",
        "detector",
        "stamp to exit",
        "exit to flip",
        "flip to waking",
        "waking to running",
        "running to verdict",
    ];
    (!lines.is_empty()).then(|| text::table(&head, &lines))
}

fn stages_of(cell: &Cell<'_>) -> Option<Vec<String>> {
    cell.trials.iter().find(|t| t.stages.is_some())?;
    let mut line = vec![cell.row.label.clone(), format!("`{}`", cell.name())];
    for step in 0..5 {
        let times = cell.trials.iter().filter_map(|trial| {
            let stages = trial.stages?;
            let stops = [
                trial.stamps.over_lower_ns,
                stages.exit_ns,
                stages.flip_ns,
                stages.waking_ns,
                stages.running_ns,
                decided(trial),
            ];
            stops[step + 1]?.checked_sub(stops[step]?)
        });
        line.push(text::maybe_ns(Sample::new(times.collect()).median()));
    }
    Some(line)
}

fn decided(trial: &TrialRecord) -> Option<u64> {
    match trial.verdict.as_ref()? {
        Verdict::Empty { decided_ns, .. } => Some(*decided_ns),
        _ => None,
    }
}

/// Costs by mechanism and number of sites.
pub fn scale(rows: &[Scale]) -> String {
    let mut names: Vec<&str> = rows
        .iter()
        .flat_map(|r| r.medians.keys().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut head = vec!["mechanism", "sites", "populated", "right"];
    head.extend(&names);
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let mut line = vec![
                format!("`{}`", row.mechanism),
                row.sites.to_string(),
                row.populated
                    .map_or_else(|| "-".to_owned(), |n| n.to_string()),
                text::count(row.right, row.n),
            ];
            line.extend(
                names
                    .iter()
                    .map(|name| quantity(name, row.medians.get(*name).copied())),
            );
            line
        })
        .collect();
    text::table(&head, &lines)
}

/// A median as a multiple of the median at ten sites; nothing at ten sites or fewer.
pub fn growth(rows: &[Scale], row: &Scale, quantity: &str) -> Option<f64> {
    let small = rows.iter().find(|other| {
        other.mechanism == row.mechanism
            && other.sites == 10
            && other.populated == other.populated.and(Some(10))
    })?;
    let (of, to) = (row.medians.get(quantity)?, small.medians.get(quantity)?);
    if row.sites <= 10 || *to == 0 {
        return None;
    }
    crate::stats::ratio(*of, *to)
}

/// A recorded quantity by the unit in its name.
pub fn quantity(name: &str, value: Option<u64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if is_time(name) => text::ns(value),
        Some(value) => value.to_string(),
    }
}

/// Whether a recorded quantity is a time: `cpu_ns`, `watch_ns_per_site`.
pub fn is_time(name: &str) -> bool {
    name.split('_').any(|word| word == "ns")
}
