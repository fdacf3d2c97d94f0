//! The kill plane in time: dying is one thing, knowing another. Two tables.

use std::collections::BTreeSet;

use comfy_table::Table;
use harness::detect;

use super::stats::{self, Quantile, Sample};
use super::summary::{Row, STAGES};
use super::table::{align_right, duration, plain, unless_repeated};

/// Title of [`knowing`].
pub(super) const KNOWING: &str = "Dying and knowing: when are all dead, and when is it known? (p50; holding: from the first act to `frozen 1`; dying: from \
    the first signal\nto the oracle's `populated 0`; + how much later each detector knew it, `.`: no later than the oracle)";

/// Title of [`stages`].
pub(super) const STAGES_TITLE: &str = "Stages of kills that left nothing alive (p50, counted from the strategy's first act; issued: it had nothing more to do)";

/// Holding, dying, and knowing by each detector that watched. `None` if nobody watched a kill to its end.
pub(super) fn knowing(rows: &[Row]) -> Option<Table> {
    let detectors: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.kill.knowing.keys().map(String::as_str))
        .collect();
    if detectors.is_empty() {
        return None;
    }
    let after: Vec<String> = detectors.iter().map(|id| format!("+ {id}")).collect();
    let mut header = vec!["scenario", "strategy", "holding", "dying"];
    header.extend(after.iter().map(String::as_str));
    let mut table = plain(&header);
    let mut scenario = "";
    for row in rows.iter().filter(|row| !row.kill.knowing.is_empty()) {
        let mut cells = vec![
            unless_repeated(&mut scenario, &row.key.scenario),
            row.key.mechanism.clone(),
            p50(Some(&row.kill.holding)),
            p50(Some(&row.latency)),
        ];
        cells.extend(detectors.iter().map(|id| match row.kill.knowing.get(*id) {
            Some(sample) if sample.percentile(50) == Quantile::Value(0) => ".".to_owned(),
            sample => p50(sample),
        }));
        table.add_row(cells);
    }
    align_right(&mut table, 2..header.len());
    Some(table)
}

/// When each stage was reached. `None` if no kill left nothing alive.
pub(super) fn stages(rows: &[Row]) -> Option<Table> {
    let told: Vec<&Row> = rows
        .iter()
        .filter(|row| row.kill.stages.iter().any(|s| s.len() > 0))
        .collect();
    if told.is_empty() {
        return None;
    }
    let mut header = vec!["scenario", "strategy"];
    header.extend(STAGES.map(|(name, _)| name));
    let mut table = plain(&header);
    let mut scenario = "";
    for row in told {
        let mut cells = vec![
            unless_repeated(&mut scenario, &row.key.scenario),
            row.key.mechanism.clone(),
        ];
        cells.extend(row.kill.stages.iter().map(|sample| p50(Some(sample))));
        table.add_row(cells);
    }
    align_right(&mut table, 2..header.len());
    Some(table)
}

/// The row in which detectors differ most, in words: what is known late although all are dead, and why as far as the detector's facts say.
pub(super) fn in_words(rows: &[Row]) -> Option<String> {
    let (row, (slow, late), (fast, soon)) = rows
        .iter()
        .filter_map(|row| {
            let medians = || {
                let known = row.kill.knowing.iter();
                known.filter_map(|(id, sample)| Some((id.as_str(), sample.percentile(50).value()?)))
            };
            Some((row, medians().max_by_key(|m| m.1)?, medians().min_by_key(|m| m.1)?))
        })
        .max_by_key(|(_, slow, fast)| slow.1 - fast.1)?;
    let dying = row.latency.percentile(50).value()?;
    if slow == fast {
        return None;
    }
    let why = detect::by_id(slow).map_or("", |d| d.spec().late);
    Some(format!(
        "Knowing: {} on {} takes {} of dying; {fast} knows it {} later, {slow} {} later ({why}).",
        row.key.mechanism,
        row.key.scenario,
        stats::ns(dying),
        stats::ns(soon),
        stats::ns(late),
    ))
}

fn p50(sample: Option<&Sample>) -> String {
    sample.map_or_else(|| "-".to_owned(), |sample| duration(sample.percentile(50)))
}
