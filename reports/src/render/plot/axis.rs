//! Latency or duration against an axis of the scenario (its lifetime, its size), and cost against
//! the number of sites.

use std::collections::{BTreeMap, BTreeSet};

use harness_record::Plane;

use super::super::costs::is_time;
use super::super::text;
use super::Drawing;
use super::canvas::{Axis, Chart, Labels, Line, Scale, chosen, of_all, round_ns};
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
    let by_mechanism = by_mechanism(campaign, plane, scenario, axis);
    let values = || by_mechanism.iter().flat_map(|(_, cells)| cells);
    let smallest = values()
        .map(|c| c.row.params[axis])
        .filter(|v| *v > 0)
        .min()?;
    let has_zero = values().any(|c| c.row.params[axis] == 0);
    // Zero has no place on a logarithmic axis; it is drawn to the left of the smallest value.
    let zero = real(smallest) / 4.0;
    let place = |value: u64| if value == 0 { zero } else { real(value) };
    // Times are told from counts by what the plan's labels say: an axis of nanoseconds has values
    // of a thousand and more.
    let scale = match smallest >= 1_000 {
        true => Scale::LogNs,
        false => Scale::LogCount,
    };
    let mut drawn: Vec<Line> = by_mechanism
        .iter()
        .map(|(name, cells)| line(name, cells, axis, scale, &place))
        .filter(|line| !line.points.is_empty())
        .collect();
    drawn.sort_by(|a, b| height(a).total_cmp(&height(b)));
    let names: Vec<&str> = drawn.iter().map(|line| line.name.as_str()).collect();
    let (kept, all) = (chosen(&names), drawn.len());
    let lines: Vec<Line> = kept.into_iter().map(|at| drawn[at].clone()).collect();
    let xs = || lines.iter().flat_map(|l| l.points.iter().map(|p| p.0));
    let ys = || {
        lines.iter().flat_map(|l| {
            let points = l.points.iter().map(|p| p.1);
            points.chain(l.bars.iter().flat_map(|b| [b.1, b.2]))
        })
    };
    let what = match plane {
        Plane::Detect => "Latency",
        Plane::Kill => "Duration of the kill",
    };
    let tick_ns = super::tick_ns(campaign).filter(|_| plane == Plane::Detect);
    let title = format!("{what} against {axis}, {scenario}");
    let mut x = Axis::around(axis, scale, xs(), None);
    x.zero = has_zero.then_some(zero);
    let chart = Chart {
        size: super::SIZE,
        x,
        y: Axis::around(&what.to_lowercase(), Scale::LogNs, ys(), tick_ns),
        bands: Vec::new(),
        labels: Labels::AtEnd,
        lines: &lines,
    };
    let ticks = match plane {
        Plane::Detect => super::ticks_in_words(campaign),
        Plane::Kill => String::new(),
    };
    Some(Drawing {
        slug: format!(
            "{scenario} {axis} {}",
            what.split(' ').next().unwrap_or(what)
        ),
        body: chart.draw(&title),
        html: None,
        caption: format!(
            "Medians with their 95 % intervals, both axes logarithmic. A point is missing where \
                the mechanism was wrong, or had given no verdict by the deadline in half of the \
                trials.{ticks}{}",
            of_all(lines.len(), all)
        ),
        title,
    })
}

/// Cells of a scenario that have an axis, by mechanism and along the axis.
pub(super) fn by_mechanism<'c, 's>(
    campaign: &'c Campaign<'s>,
    plane: Plane,
    scenario: &str,
    axis: &str,
) -> Vec<(&'c str, Vec<&'c Cell<'s>>)> {
    let mut all: BTreeMap<&str, Vec<&Cell<'s>>> = BTreeMap::new();
    for cell in campaign.plane(plane) {
        let row = &cell.row;
        if row.scenario == scenario && row.twin == 0 && row.params.contains_key(axis) {
            all.entry(cell.mechanism()).or_default().push(cell);
        }
    }
    for cells in all.values_mut() {
        cells.sort_by_key(|cell| cell.row.params[axis]);
    }
    all.into_iter().collect()
}

/// Medians along an axis.
pub(super) fn line(
    name: &str,
    cells: &[&Cell<'_>],
    axis: &str,
    scale: Scale,
    place: &dyn Fn(u64) -> f64,
) -> Line {
    let point = |c: &Cell<'_>| {
        let (value, median) = (c.row.params[axis], c.row.p50_ns?);
        let at = match scale {
            Scale::LogCount => text::grouped(value),
            _ => round_ns(value),
        };
        let words = format!(
            "{name}, {axis} {at}: {}",
            text::quantile(c.latency.quantile(500))
        );
        Some((place(value), real(median.max(1)), words))
    };
    let bar = |c: &Cell<'_>| {
        let [low, high] = c.row.p50_ci;
        Some((
            place(c.row.params[axis]),
            real(low?.max(1)),
            real(high?.max(1)),
        ))
    };
    Line {
        name: name.to_owned(),
        words: name.to_owned(),
        points: cells.iter().filter_map(|c| point(c)).collect(),
        bars: cells.iter().filter_map(|c| bar(c)).collect(),
    }
}

/// The last value of a line.
fn height(line: &Line) -> f64 {
    line.points.last().map_or(0.0, |point| point.1)
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
        let mut by_mechanism: BTreeMap<String, Line> = BTreeMap::new();
        for row in &campaign.scale {
            let value = row
                .medians
                .get(quantity)
                .filter(|v| **v > 0 && row.sites > 0);
            if let Some(value) = value {
                let name = line_of(row);
                let words = format!(
                    "{name}, {} sites: {}",
                    text::grouped(row.sites),
                    text::ns(*value)
                );
                let line = by_mechanism.entry(name).or_default();
                line.points.push((real(row.sites), real(*value), words));
            }
        }
        let mut drawn: Vec<Line> = by_mechanism
            .into_iter()
            .map(|(name, line)| Line {
                words: name.clone(),
                name,
                ..line
            })
            .filter(|line| line.points.len() > 1)
            .collect();
        if drawn.is_empty() {
            continue;
        }
        drawn.sort_by(|a, b| height(a).total_cmp(&height(b)));
        let names: Vec<&str> = drawn.iter().map(|line| line.name.as_str()).collect();
        let lines: Vec<Line> = chosen(&names)
            .into_iter()
            .map(|at| drawn[at].clone())
            .collect();
        let points = || lines.iter().flat_map(|l| &l.points);
        let words = quantity.replace("_ns", "").replace('_', " ");
        let title = format!("{words} against the number of sites");
        let chart = Chart {
            size: super::SIZE,
            x: Axis::around(
                "sites watched at once",
                Scale::LogCount,
                points().map(|p| p.0),
                None,
            ),
            y: Axis::around(&words, Scale::LogNs, points().map(|p| p.1), None),
            bands: Vec::new(),
            labels: Labels::AtEnd,
            lines: &lines,
        };
        drawings.push(Drawing {
            slug: format!("sites {words}"),
            body: chart.draw(&title),
            html: None,
            caption: format!(
                "Medians, both axes logarithmic.{}",
                of_all(lines.len(), drawn.len())
            ),
            title,
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
