//! The summary of recorded jobs: one row for each mechanism and number of sites, and how its cost
//! grows. Pure.

use std::collections::BTreeMap;

use comfy_table::Table;
use harness::record::{Outcome, ScaleRecord};
use serde::Serialize;

use super::super::stats::{self, Sample};
use super::super::table::{ENOUGH_FOR_P99, align_right, plain};

/// One mechanism at one number of sites.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Cell {
    /// Mechanism id.
    pub mechanism: String,
    /// Sites watched.
    pub sites: u32,
    /// Jobs that ended.
    pub jobs: usize,
    /// Jobs with a right verdict.
    pub right: usize,
    /// From the job's stamp to the verdict, median.
    pub latency_p50_ns: Option<u64>,
    /// The same, 99th percentile from 100 jobs on, below that the largest.
    pub latency_tail_ns: Option<u64>,
    /// CPU time of the loop for one completion, median.
    pub cpu_p50_ns: Option<u64>,
    /// Reads of a state for one completion, median.
    pub reads_p50: Option<u64>,
    /// Descriptors of the loop's process.
    pub descriptors: u32,
    /// Setting up one watch.
    pub watch_ns_per_site: u64,
    /// How busy the machine was just before, in thousandths.
    pub busy_permille: Option<u32>,
    /// Why something is wrong or missing.
    pub note: Option<String>,
}

/// How one mechanism grows: exponents of the number of sites (Theil-Sen slopes between logarithms
/// of medians). 0: not at all, 1: in proportion.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Growth {
    /// Mechanism id.
    pub mechanism: String,
    /// Of the CPU time for one completion.
    pub cpu_exponent: f64,
    /// Of the latency.
    pub latency_exponent: f64,
}

/// Sums up, in the order of mechanism and number of sites.
pub(super) fn cells(records: &[ScaleRecord]) -> Vec<Cell> {
    let mut groups: BTreeMap<(&str, u32), Vec<&ScaleRecord>> = BTreeMap::new();
    for record in records {
        groups
            .entry((&record.mechanism, record.sites))
            .or_default()
            .push(record);
    }
    groups.into_values().map(|jobs| Cell::new(&jobs)).collect()
}

impl Cell {
    fn new(all: &[&ScaleRecord]) -> Self {
        let ended: Vec<&&ScaleRecord> = all.iter().filter(|r| r.asked_ns.is_some()).collect();
        let sample = |figure: fn(&ScaleRecord) -> Option<u64>| {
            Sample::new(ended.iter().filter_map(|r| figure(r)).collect(), 0)
        };
        let missed = ended
            .iter()
            .filter(|r| r.outcome == Outcome::Missed)
            .count();
        let late = |r: &&&ScaleRecord| match (r.outcome, r.decided_ns, r.exit_ns) {
            (Outcome::Right, Some(decided), Some(exit)) => Some(decided.saturating_sub(exit)),
            _ => None,
        };
        let latency = Sample::new(ended.iter().filter_map(late).collect(), missed);
        let tail = if latency.len() >= ENOUGH_FOR_P99 {
            99
        } else {
            100
        };
        Self {
            mechanism: all[0].mechanism.clone(),
            sites: all[0].sites,
            jobs: ended.len(),
            right: ended.iter().filter(|r| r.outcome == Outcome::Right).count(),
            latency_p50_ns: latency.percentile(50).value(),
            latency_tail_ns: latency.percentile(tail).value(),
            cpu_p50_ns: sample(|r| Some(r.cpu_ns)).percentile(50).value(),
            reads_p50: sample(|r| Some(r.reads)).percentile(50).value(),
            descriptors: all.iter().map(|r| r.descriptors).max().unwrap_or(0),
            watch_ns_per_site: all.iter().map(|r| r.watch_ns_per_site).max().unwrap_or(0),
            busy_permille: all.iter().filter_map(|r| r.busy_permille).max(),
            note: all
                .iter()
                .find_map(|r| r.note.as_ref().map(ToString::to_string)),
        }
    }
}

/// How each mechanism grows that was seen right with two numbers of sites or more.
pub(super) fn growth(cells: &[Cell]) -> Vec<Growth> {
    cells
        .chunk_by(|a, b| a.mechanism == b.mechanism)
        .filter_map(|of_one| {
            let slope = |figure: fn(&Cell) -> Option<u64>| {
                let points = of_one
                    .iter()
                    .filter_map(|cell| Some((cell.sites, figure(cell)?)));
                exponent(&points.collect::<Vec<_>>())
            };
            Some(Growth {
                mechanism: of_one[0].mechanism.clone(),
                cpu_exponent: slope(|cell| cell.cpu_p50_ns)?,
                latency_exponent: slope(|cell| cell.latency_p50_ns)?,
            })
        })
        .collect()
}

/// The median of the slopes through each two points, on logarithmic axes. `None`: fewer than two
/// points.
fn exponent(points: &[(u32, u64)]) -> Option<f64> {
    let log =
        |n: u64| u32::try_from(n.max(1)).map_or(f64::from(u32::MAX).ln(), |n| f64::from(n).ln());
    let mut slopes = Vec::new();
    for (i, (sites, value)) in points.iter().enumerate() {
        for (more_sites, other) in &points[i + 1..] {
            let run = log(u64::from(*more_sites)) - log(u64::from(*sites));
            if run > 0.0 {
                slopes.push((log(*other) - log(*value)) / run);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    match slopes.len() {
        0 => None,
        n if n % 2 == 1 => Some(slopes[middle]),
        _ => Some(f64::midpoint(slopes[middle - 1], slopes[middle])),
    }
}

/// The two tables, for people.
pub(super) fn text(cells: &[Cell], growth: &[Growth]) -> String {
    let duration = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), stats::ns);
    let mut table: Table = plain(&[
        "mechanism",
        "sites",
        "right",
        "late p50",
        if cells.iter().any(|cell| cell.jobs >= ENOUGH_FOR_P99) {
            "late p99"
        } else {
            "late max"
        },
        "CPU p50",
        "reads p50",
        "descriptors",
        "one watch",
    ]);
    for cell in cells {
        table.add_row([
            cell.mechanism.clone(),
            cell.sites.to_string(),
            format!("{}/{}", cell.right, cell.jobs),
            duration(cell.latency_p50_ns),
            duration(cell.latency_tail_ns),
            duration(cell.cpu_p50_ns),
            cell.reads_p50
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            cell.descriptors.to_string(),
            stats::ns(cell.watch_ns_per_site),
        ]);
    }
    align_right(&mut table, 1..9);
    let mut text = format!(
        "One loop over many sites: when does it know which job is over, and for how much CPU \
            time?\n\
            {}\n\n",
        table.trim_fmt()
    );
    if !growth.is_empty() {
        let mut table = plain(&["mechanism", "CPU per completion", "latency"]);
        for of_one in growth {
            table.add_row([
                of_one.mechanism.clone(),
                format!("sites^{:.2}", of_one.cpu_exponent),
                format!("sites^{:.2}", of_one.latency_exponent),
            ]);
        }
        align_right(&mut table, 1..3);
        text.push_str(&format!(
            "How it grows with the number of sites (0: not at all, 1: in proportion)\n{}\n\n",
            table.trim_fmt()
        ));
    }
    let busy = |cell: &&Cell| {
        cell.busy_permille
            .is_some_and(|busy| busy >= harness::fleet::QUIET_PERMILLE)
    };
    for cell in cells.iter().filter(busy) {
        let percent = f64::from(cell.busy_permille.unwrap_or(0)) / 10.0;
        text.push_str(&format!(
            "{} with {} sites: the machine was busy, {percent} % just before the first job\n",
            cell.mechanism, cell.sites
        ));
    }
    for cell in cells {
        if let Some(note) = &cell.note {
            text.push_str(&format!(
                "{} with {} sites: {note}\n",
                cell.mechanism, cell.sites
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_grow_has_no_exponent_and_what_is_in_proportion_has_one() {
        let close =
            |found: Option<f64>, wanted: f64| found.is_some_and(|x| (x - wanted).abs() < 1e-9);
        assert!(close(
            exponent(&[(1, 5_000), (100, 5_000), (10_000, 5_000)]),
            0.0
        ));
        assert!(close(exponent(&[(1, 7), (10, 70), (100, 700)]), 1.0));
        let one_of_four_is_off = exponent(&[(1, 7), (10, 70), (100, 700), (1_000, 1)]);
        let middle_of_six = f64::midpoint((1.0_f64 / 7.0).log10() / 3.0, 1.0);
        assert!(
            close(one_of_four_is_off, middle_of_six),
            "{one_of_four_is_off:?}"
        );
        assert_eq!(exponent(&[(1, 7)]), None);
        assert_eq!(
            exponent(&[(5, 7), (5, 9)]),
            None,
            "the same number of sites twice"
        );
    }
}
