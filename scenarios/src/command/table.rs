//! The summary for people: one table for each plane.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};
use harness::expect::{Canary, Plane};
use harness::record::Outcome;

use super::lines::WIDTH;
use super::stats::{self, Quantile, Sample};
use super::summary::Row;
pub(super) use crate::formats::table::plain;

/// From this many latencies on, a p99 means something.
pub(super) const ENOUGH_FOR_P99: usize = 100;

/// An empty table that is no wider than a page: text that is too long for its column is wrapped.
pub(super) fn narrow(header: &[&str]) -> Table {
    let mut table = plain(header);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(WIDTH).unwrap_or(u16::MAX));
    // Ids are not wrapped, so that they can be copied.
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// The table of one plane. `None` if it has no rows.
pub(super) fn of_plane(rows: &[Row], plane: Plane) -> Option<Table> {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.key.plane == plane).collect();
    if rows.is_empty() {
        return None;
    }
    Some(match plane {
        Plane::Detect => detect(&rows),
        Plane::Kill => kill(&rows),
    })
}

fn detect(rows: &[&Row]) -> Table {
    let tail = tail_name(rows);
    let mut table = narrow(&[
        "detector",
        "trials",
        "p50",
        tail,
        "wakes",
        "CPU",
        "as expected",
    ]);
    let mut scenario = "";
    for row in rows {
        group(&mut table, &mut scenario, row);
        table.add_row([
            format!("  {}", row.key.mechanism),
            outcomes(row),
            duration(row.latency.percentile(50)),
            tail_value(&row.latency, tail),
            plain_number(&row.wakeups),
            duration(row.cpu.percentile(50)),
            as_expected(row),
        ]);
    }
    align_right(&mut table, 1..6);
    table
}

fn kill(rows: &[&Row]) -> Table {
    let tail = tail_name(rows);
    let header = [
        "strategy",
        "emptied",
        "left",
        "bystanders hit",
        "p50",
        tail,
        "signals",
        "passes",
        "as expected",
    ];
    let mut table = narrow(&header);
    let mut scenario = "";
    for row in rows {
        group(&mut table, &mut scenario, row);
        let survivors = match row.kill.survivors_max {
            0 => "0".to_owned(),
            most => format!("up to {most}"),
        };
        let others: usize =
            row.judged() - row.count(Outcome::Emptied) - row.count(Outcome::Survived);
        let emptied = emptied(row.count(Outcome::Emptied), row.judged());
        table.add_row([
            format!("  {}", row.key.mechanism),
            match (others, row.n - row.judged()) {
                (0, 0) => emptied,
                _ => format!("{emptied}; {}", outcomes(row)),
            },
            survivors,
            canaries(&row.kill.canaries, row.judged()),
            duration(row.latency.percentile(50)),
            tail_value(&row.latency, tail),
            plain_number(&row.kill.signals),
            plain_number(&row.kill.passes),
            as_expected(row),
        ]);
    }
    align_right(&mut table, 1..8);
    table
}

/// A line for the scenario of `row`, if the row before was about another.
pub(super) fn group<'a>(table: &mut Table, scenario: &mut &'a str, row: &'a Row) {
    if *scenario != row.key.scenario {
        *scenario = &row.key.scenario;
        table.add_row([*scenario]);
    }
}

/// How the trials of a row ended: `3 right`, `1 early, 2 right`.
pub(super) fn outcomes(row: &Row) -> String {
    let all = row
        .outcomes
        .iter()
        .map(|(outcome, n)| format!("{n} {}", name(*outcome)));
    match row.n {
        0 => "none".to_owned(),
        _ => all.collect::<Vec<_>>().join(", "),
    }
}

/// A share: `100 % of 200`. Never rounded up, so that 100 % means every one.
fn emptied(emptied: usize, of: usize) -> String {
    let thousandths = (emptied * 1_000).checked_div(of).unwrap_or(0);
    match thousandths % 10 {
        0 => format!("{} % of {of}", thousandths / 10),
        tenth => format!("{}.{tenth} % of {of}", thousandths / 10),
    }
}

/// Aligns columns of numbers.
pub(super) fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn tail_name(rows: &[&Row]) -> &'static str {
    match rows.iter().any(|row| row.latency.len() >= ENOUGH_FOR_P99) {
        true => "p99",
        false => "max",
    }
}

/// The tail of a sample; a p99 only where there is enough for one.
fn tail_value(sample: &Sample, name: &str) -> String {
    match (name, sample.len()) {
        ("p99", ENOUGH_FOR_P99..) => duration(sample.percentile(99)),
        ("p99", 1..) => format!("(max) {}", duration(sample.max())),
        _ => duration(sample.max()),
    }
}

/// A duration, or why there is none.
pub(super) fn duration(quantile: Quantile) -> String {
    match quantile {
        Quantile::Nothing => "-".to_owned(),
        Quantile::Censored => "never".to_owned(),
        Quantile::Value(ns) => stats::ns(ns),
    }
}

/// The median of a count.
pub(super) fn plain_number(sample: &Sample) -> String {
    sample
        .percentile(50)
        .value()
        .map_or_else(|| "-".to_owned(), |v| v.to_string())
}

/// A count; zero is left out.
pub(super) fn count(n: usize) -> String {
    if n == 0 {
        ".".to_owned()
    } else {
        n.to_string()
    }
}

fn canaries(hit: &BTreeMap<Canary, usize>, n: usize) -> String {
    if hit.is_empty() {
        return "0".to_owned();
    }
    let kinds: Vec<String> = hit
        .iter()
        .map(|(canary, hits)| format!("{canary} {hits}/{n}"))
        .collect();
    kinds.join(", ")
}

/// How [`as_expected`] begins where they did not.
pub(super) const FAILED: &str = "NO, ";

/// Whether the trials ended as expected; empty for a row without a valid trial.
pub(super) fn as_expected(row: &Row) -> String {
    match (row.judged(), row.failed()) {
        (0, _) => "-".to_owned(),
        (_, 0) => "yes".to_owned(),
        (n, failed) => format!("{FAILED}{failed} of {n}"),
    }
}

/// An outcome in words.
pub(super) fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Right => "right",
        Outcome::Early => "early",
        Outcome::Missed => "missed",
        Outcome::StillRunning => "still running",
        Outcome::CannotTell => "cannot tell",
        Outcome::Removed => "site removed",
        Outcome::Unknown => "unknown",
        Outcome::Emptied => "emptied",
        Outcome::Survived => "survived",
        Outcome::Broken => "broken",
        Outcome::Interrupted => "interrupted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_is_a_hundred_per_cent() {
        assert_eq!(emptied(200, 200), "100 % of 200");
        assert_eq!(emptied(1_999, 2_000), "99.9 % of 2000");
        assert_eq!(emptied(1, 3), "33.3 % of 3");
        assert_eq!(emptied(0, 0), "0 % of 0");
    }
}
