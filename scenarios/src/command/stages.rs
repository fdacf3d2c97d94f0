//! The times of the kill plane, dying and knowing. Two tables.

use std::collections::BTreeSet;

use comfy_table::Table;
use harness::detect;

use super::stats::{self, Quantile, Sample};
use super::summary::{RESOLUTION_NS, Row, STAGES};
use super::table::{align_right, duration, group, narrow};

/// Title of [`knowing`].
pub(super) const KNOWING: &str = "From the decision to kill to \"empty\", and from there to the \
    verdict (p50)\n\
    to empty = holding (to the first signal) + dying (to the oracle's `populated 0`);\n\
    + a detector: how much later it knew; the oracle looks every 200 us; \"n/m\": so\n\
    many knew it later than 1 ms";

/// Later than this is late: events that the kernel delays come later, all others sooner.
pub(super) const LATE_NS: u64 = 1_000_000;

/// Title of [`stages`].
pub(super) const STAGES_TITLE: &str = "Stages of kills that left nothing alive (p50, counted from \
    the decision;\n\
    issued: the strategy had nothing more to do)";

/// Holding, dying, and knowing by each detector that watched. `None` if no kill was watched to its
/// end.
pub(super) fn knowing(rows: &[Row]) -> Option<Table> {
    let detectors: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.kill.knowing.keys().map(String::as_str))
        .collect();
    if detectors.is_empty() {
        return None;
    }
    // The blanks allow a long id to be broken there.
    let after: Vec<String> = detectors
        .iter()
        .map(|id| format!("+ {}", id.replace('-', "- ")))
        .collect();
    let mut header = vec!["strategy", "to empty", "holding", "dying"];
    header.extend(after.iter().map(String::as_str));
    let mut table = narrow(&header);
    let mut scenario = "";
    for row in rows.iter().filter(|row| !row.kill.knowing.is_empty()) {
        group(&mut table, &mut scenario, row);
        let mut cells = vec![
            format!("  {}", row.key.mechanism),
            p50(Some(&row.latency)),
            p50(Some(&row.kill.holding)),
            p50(Some(&row.kill.dying)),
        ];
        cells.extend(detectors.iter().map(|id| {
            row.kill
                .knowing
                .get(*id)
                .map_or_else(|| "-".to_owned(), known)
        }));
        table.add_row(cells);
    }
    align_right(&mut table, 1..header.len());
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
    let mut header = vec!["strategy"];
    header.extend(STAGES.map(|(name, _)| name));
    let mut table = narrow(&header);
    let mut scenario = "";
    for row in told {
        group(&mut table, &mut scenario, row);
        let mut cells = vec![format!("  {}", row.key.mechanism)];
        cells.extend(row.kill.stages.iter().map(|sample| p50(Some(sample))));
        table.add_row(cells);
    }
    align_right(&mut table, 1..header.len());
    Some(table)
}

/// The row in which detectors differ most, in words: which one knows it late although all are dead,
/// and why, as far as the detector's spec says.
pub(super) fn in_words(rows: &[Row]) -> Option<String> {
    let (row, (slow, late), (fast, soon)) = rows
        .iter()
        .filter_map(|row| {
            let medians = || {
                let known = row.kill.knowing.iter();
                known.filter_map(|(id, sample)| Some((id.as_str(), sample.percentile(50).value()?)))
            };
            Some((
                row,
                medians().max_by_key(|m| m.1)?,
                medians().min_by_key(|m| m.1)?,
            ))
        })
        .max_by_key(|(_, slow, fast)| slow.1 - fast.1)?;
    let empty = row.latency.percentile(50).value()?;
    if slow == fast {
        return None;
    }
    let why = detect::by_id(slow).map_or("", |d| d.spec().late);
    Some(format!(
        "Knowing: {} on {} takes {} to empty; {fast} knows it {} later, {slow} {} later ({why}).",
        row.key.mechanism,
        row.key.scenario,
        stats::ns(empty),
        at_least(soon),
        at_least(late),
    ))
}

/// A duration with the oracle's resolution.
fn at_least(ns: u64) -> String {
    match ns < RESOLUTION_NS {
        true => format!("less than {}", stats::ns(RESOLUTION_NS)),
        false => stats::ns(ns),
    }
}

/// How much later a detector knew it: the median and, if it knew it sometimes at once and sometimes
/// late, how often it was late. The median of such a mixture is that of its larger part and says
/// little.
fn known(sample: &Sample) -> String {
    let p50 = match sample.percentile(50) {
        Quantile::Value(ns) if ns < RESOLUTION_NS => format!("<{}", stats::ns(RESOLUTION_NS)),
        other => duration(other),
    };
    match sample.later_than(LATE_NS) {
        0 => p50,
        late if late == sample.len() => p50,
        late => format!("{p50}, {late}/{}", sample.len()),
    }
}

fn p50(sample: Option<&Sample>) -> String {
    sample.map_or_else(|| "-".to_owned(), |sample| duration(sample.percentile(50)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_called_no_time() {
        assert_eq!(known(&Sample::new(vec![0, 0, 0], 0)), "<200 us");
        assert_eq!(known(&Sample::new(vec![300_000], 0)), "300 us");
    }

    #[test]
    fn a_mixture_is_told_by_the_share_of_its_late_half() {
        assert_eq!(
            known(&Sample::new(vec![0, 0, 9_000_000], 0)),
            "<200 us, 1/3"
        );
        assert_eq!(
            known(&Sample::new(vec![9_000_000, 9_000_000], 0)),
            "9.00 ms"
        );
        assert_eq!(known(&Sample::new(vec![0], 2)), "never, 2/3");
    }
}
