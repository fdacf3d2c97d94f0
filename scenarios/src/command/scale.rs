//! What a kill costs by the number of tasks: rows of one scenario and one strategy that differ in
//! how many there are.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::Table;
use harness::expect::Plane;
use harness::kill::RECOMMENDED;
use serde::Serialize;

use super::stats;
use super::summary::Row;
use super::table::{align_right, narrow};

/// Title of the table.
pub(super) const TITLE: &str = "Scale: from the decision to kill to \"empty\", by the number of \
    tasks (p50, and how\n\
    many times that of the fastest sound strategy; per task: Theil-Sen slope through\n\
    the medians)";

/// How one strategy grows on one scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Growth {
    /// The scenario's id, without axes.
    pub scenario: String,
    /// The strategy, with its own axes.
    pub strategy: String,
    /// Number of tasks, and its figures.
    pub sizes: BTreeMap<u64, Size>,
    /// Nanoseconds for each further task.
    pub slope_ns: i64,
}

/// One strategy at one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Size {
    /// Median.
    pub p50_ns: u64,
    /// In hundredths: how many times the median of the fastest strategy that claims to be sound and
    /// was. Absent if there is none.
    pub times_the_fastest: Option<u64>,
}

/// All strategies that were seen with two sizes or more.
pub(super) fn growth(rows: &[Row]) -> Vec<Growth> {
    let mut all: BTreeMap<(&str, &str), BTreeMap<u64, u64>> = BTreeMap::new();
    let mut fastest: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.key.plane == Plane::Kill) {
        let (Some(size), Some(p50)) = (row.population, row.latency.percentile(50).value()) else {
            continue;
        };
        let scenario = row.key.scenario.split(' ').next().unwrap_or_default();
        all.entry((scenario, &row.key.mechanism))
            .or_default()
            .insert(size, p50);
        if row.kill.sound {
            let least = fastest.entry((scenario, size)).or_insert(p50);
            *least = p50.min(*least);
        }
    }
    all.into_iter()
        .filter_map(|((scenario, strategy), medians)| {
            let points: Vec<(u64, u64)> = medians.iter().map(|(size, p50)| (*size, *p50)).collect();
            let size = |(size, p50_ns): (u64, u64)| {
                let least = fastest.get(&(scenario, size)).copied();
                let times = least.and_then(|least| (p50_ns.saturating_mul(100)).checked_div(least));
                (
                    size,
                    Size {
                        p50_ns,
                        times_the_fastest: times,
                    },
                )
            };
            Some(Growth {
                scenario: scenario.to_owned(),
                strategy: strategy.to_owned(),
                slope_ns: slope(&points)?,
                sizes: points.into_iter().map(size).collect(),
            })
        })
        .collect()
}

/// The median of the slopes through each two points (Theil-Sen): one outlier among four sizes does
/// not move it much. `None` for fewer than two.
///
/// Source: P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63
/// (1968).
fn slope(points: &[(u64, u64)]) -> Option<i64> {
    let mut slopes = Vec::new();
    for (at, (x, y)) in points.iter().enumerate() {
        for (u, v) in &points[at + 1..] {
            let (run, rise) = (
                i128::from(*u) - i128::from(*x),
                i128::from(*v) - i128::from(*y),
            );
            slopes.push(rise.checked_div(run)?);
        }
    }
    slopes.sort_unstable();
    let upper = slopes.get(slopes.len() / 2)?;
    let lower = slopes.get((slopes.len() - 1) / 2)?;
    i64::try_from((upper + lower) / 2).ok()
}

/// The table. `None` if nothing was seen with two sizes.
pub(super) fn table(growth: &[Growth]) -> Option<Table> {
    let sizes: BTreeSet<u64> = growth
        .iter()
        .flat_map(|g| g.sizes.keys().copied())
        .collect();
    if growth.is_empty() {
        return None;
    }
    let names: Vec<String> = sizes.iter().map(|size| format!("{size} tasks")).collect();
    let mut header = vec!["scenario", "strategy"];
    header.extend(names.iter().map(String::as_str));
    header.push("per task");
    let mut table = narrow(&header);
    for one in growth {
        let mut cells = vec![one.scenario.clone(), one.strategy.clone()];
        cells.extend(
            sizes
                .iter()
                .map(|size| one.sizes.get(size).map_or_else(String::new, told)),
        );
        cells.push(match u64::try_from(one.slope_ns) {
            Ok(ns) => stats::ns(ns),
            Err(_) => format!("-{}", stats::ns(one.slope_ns.unsigned_abs())),
        });
        table.add_row(cells);
    }
    align_right(&mut table, 2..header.len());
    Some(table)
}

fn told(size: &Size) -> String {
    let p50 = stats::ns(size.p50_ns);
    size.times_the_fastest.map_or_else(
        || p50.clone(),
        |times| format!("{p50} ({})", hundredths(times)),
    )
}

fn hundredths(times: u64) -> String {
    format!("{}.{:02}x", times / 100, times % 100)
}

/// How the recommended strategy compares, in words; one line for each scenario.
pub(super) fn in_words(growth: &[Growth]) -> Vec<String> {
    let recommended = growth.iter().filter(|g| g.strategy == RECOMMENDED);
    recommended
        .filter_map(|g| {
            let worst = g
                .sizes
                .iter()
                .filter_map(|(size, s)| Some((s.times_the_fastest?, size)));
            let (times, size) = worst.max()?;
            Some(format!(
                "Scale: the recommended {RECOMMENDED} takes at most {} of the fastest sound \
                    strategy's time on {} (at {size} tasks), and {} for each further task.",
                hundredths(times),
                g.scenario,
                stats::ns(g.slope_ns.unsigned_abs()),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_an_outlier_does_not_tilt_it() {
        assert_eq!(slope(&[(10, 100), (20, 200), (30, 300)]), Some(10));
        assert_eq!(
            slope(&[(10, 100), (20, 9_000), (30, 300), (40, 400)]),
            Some(10)
        );
        assert_eq!(slope(&[(10, 100)]), None);
        assert_eq!(slope(&[(10, 300), (20, 200)]), Some(-10));
    }

    #[test]
    fn the_fastest_that_is_sound_is_the_measure() {
        let rows = super::super::summary::tests::sized_rows(&[
            (RECOMMENDED, true, &[(11, 1_100), (101, 2_000)]),
            ("freeze-kill", true, &[(11, 1_000), (101, 4_000)]),
            ("killpg", false, &[(11, 10), (101, 20)]),
        ]);
        let growth = growth(&rows);
        let of = |id: &str| growth.iter().find(|g| g.strategy == id).unwrap();
        let times: Vec<_> = of(RECOMMENDED)
            .sizes
            .values()
            .map(|s| s.times_the_fastest.unwrap())
            .collect();
        assert_eq!(
            times,
            [110, 100],
            "a strategy that is not sound is no standard"
        );
        assert_eq!(of("freeze-kill").slope_ns, 33);
        let words = in_words(&growth);
        assert!(
            words[0].contains("at most 1.10x") && words[0].contains("at 11 tasks"),
            "{words:?}"
        );
        assert!(
            table(&growth)
                .unwrap()
                .trim_fmt()
                .contains("1.10 us (1.10x)")
        );
        assert!(table(&[]).is_none());
    }
}
