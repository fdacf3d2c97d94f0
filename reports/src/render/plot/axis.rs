//! Latency or duration against an axis of the scenario (its lifetime, its size), and cost against
//! the number of sites.

use std::collections::{BTreeMap, BTreeSet};

use harness_record::Plane;

use super::super::costs::is_time;
use super::Drawing;
use super::canvas::{Line, Scale, lines};
use crate::analysis::{Campaign, Cell};
use crate::summary::Scale as Sites;

/// An axis with fewer values is no line.
const VALUES: usize = 3;

/// Axes of a scenario that take enough values with some mechanism.
pub(super) fn axes(campaign: &Campaign<'_>, plane: Plane, scenario: &str) -> Vec<String> {
    let mut values: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
    for cell in campaign.plane(plane).filter(|c| c.row.scenario == scenario) {
        for (axis, value) in &cell.row.params {
            values
                .entry((axis, cell.mechanism()))
                .or_default()
                .insert(*value);
        }
    }
    let many: BTreeSet<String> = values
        .into_iter()
        .filter(|(_, values)| values.len() >= VALUES)
        .map(|((axis, _), _)| axis.to_owned())
        .collect();
    many.into_iter().collect()
}

/// One for each axis of each scenario.
pub(super) fn all(campaign: &Campaign<'_>) -> Vec<Drawing> {
    let scenarios: BTreeSet<(Plane, &str)> = campaign
        .cells
        .iter()
        .map(|c| (c.row.plane, c.row.scenario.as_str()))
        .collect();
    let mut drawings = Vec::new();
    for (plane, scenario) in scenarios {
        for axis in axes(campaign, plane, scenario) {
            drawings.extend(draw(campaign, plane, scenario, &axis));
        }
    }
    drawings
}

fn draw(campaign: &Campaign<'_>, plane: Plane, scenario: &str, axis: &str) -> Option<Drawing> {
    let cells: Vec<&Cell<'_>> = campaign
        .plane(plane)
        .filter(|c| {
            c.row.scenario == scenario && c.row.twin == 0 && c.row.params.contains_key(axis)
        })
        .collect();
    let smallest = cells
        .iter()
        .map(|c| c.row.params[axis])
        .filter(|v| *v > 0)
        .min()?;
    let has_zero = cells.iter().any(|c| c.row.params[axis] == 0);
    // Zero has no place on a logarithmic axis; it is drawn to the left of the smallest value.
    let place = |value: u64| {
        if value == 0 {
            real(smallest) / 4.0
        } else {
            real(value)
        }
    };
    let mut by_mechanism: BTreeMap<&str, Vec<&Cell<'_>>> = BTreeMap::new();
    for cell in cells {
        by_mechanism.entry(cell.mechanism()).or_default().push(cell);
    }
    let drawn: Vec<Line> = by_mechanism
        .into_iter()
        .map(|(name, mut cells)| {
            cells.sort_by_key(|c| c.row.params[axis]);
            let at = |c: &Cell<'_>| place(c.row.params[axis]);
            Line {
                name: name.to_owned(),
                points: cells
                    .iter()
                    .filter_map(|c| Some((at(c), real(c.row.p50_ns?.max(1)))))
                    .collect(),
                bars: cells
                    .iter()
                    .filter_map(|c| {
                        Some((
                            at(c),
                            real(c.row.p50_ci[0]?.max(1)),
                            real(c.row.p50_ci[1]?.max(1)),
                        ))
                    })
                    .collect(),
                marked: true,
            }
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    // Times are told from counts by what the plan's labels say: an axis of nanoseconds has values
    // of a thousand and more.
    let scale = if smallest >= 1_000 {
        Scale::LogNs
    } else {
        Scale::LogCount
    };
    let what = match plane {
        Plane::Detect => "Latency",
        Plane::Kill => "Duration of the kill",
    };
    let zero = if has_zero {
        format!(" {axis} 0 stands at the left edge.")
    } else {
        String::new()
    };
    Some(Drawing {
        slug: format!(
            "{scenario} {axis} {}",
            what.split(' ').next().unwrap_or(what)
        ),
        title: format!("{what} against {axis}, {scenario}"),
        caption: format!(
            "Medians with their 95 % intervals, both axes logarithmic.{zero} A point is missing \
                where the mechanism was wrong, or had given no verdict by the deadline in half \
                of the trials."
        ),
        body: lines((axis, scale), (&what.to_lowercase(), Scale::LogNs), &drawn),
    })
}

/// Each recorded time against the number of sites.
pub(super) fn scale(campaign: &Campaign<'_>) -> Vec<Drawing> {
    let quantities: BTreeSet<&str> = campaign
        .scale
        .iter()
        .flat_map(|s| s.medians.keys().map(String::as_str))
        .filter(|name| is_time(name))
        .collect();
    let mut drawings = Vec::new();
    for quantity in quantities {
        let mut by_mechanism: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for row in &campaign.scale {
            if let Some(value) = row
                .medians
                .get(quantity)
                .filter(|v| **v > 0 && row.sites > 0)
            {
                by_mechanism
                    .entry(line_of(row))
                    .or_default()
                    .push((real(row.sites), real(*value)));
            }
        }
        let drawn: Vec<Line> = by_mechanism
            .into_iter()
            .map(|(name, points)| Line {
                name,
                points,
                bars: Vec::new(),
                marked: true,
            })
            .collect();
        if drawn.iter().all(|line| line.points.len() < 2) {
            continue;
        }
        let words = quantity.replace("_ns", "").replace('_', " ");
        drawings.push(Drawing {
            slug: format!("sites {words}"),
            title: format!("{words} against the number of sites"),
            caption: "Medians, both axes logarithmic.".to_owned(),
            body: lines(
                ("sites watched at once", Scale::LogCount),
                (&words, Scale::LogNs),
                &drawn,
            ),
        });
    }
    drawings
}

/// Loops with a process in each site and loops with few processes are lines of their own.
fn line_of(row: &Sites) -> String {
    match row.populated {
        None => row.mechanism.clone(),
        Some(populated) if populated == row.sites => format!("{}, all live", row.mechanism),
        Some(populated) => format!("{}, {populated} live", row.mechanism),
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn real(value: u64) -> f64 {
    value as f64
}
