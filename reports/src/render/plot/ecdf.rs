//! The share of trials that had a verdict, against time.

use super::super::text;
use super::Drawing;
use super::canvas::{Line, Scale, WIDTH, lines};
use crate::analysis::{Campaign, Cell};

/// Fewer trials than this make no distribution.
const TRIALS: usize = 30;

/// One for each label that was run often enough, unless an axis with many values has a better plot.
pub(super) fn all(campaign: &Campaign<'_>) -> Vec<Drawing> {
    let mut drawings = Vec::new();
    for group in campaign
        .cells
        .chunk_by(|a, b| a.row.label == b.row.label && a.row.plane == b.row.plane)
    {
        let cells: Vec<&Cell<'_>> = group
            .iter()
            .filter(|c| c.row.n >= TRIALS && !c.latency.seen().is_empty())
            .collect();
        let axis = super::axis::axes(campaign, group[0].row.plane, &group[0].row.scenario);
        if cells.len() < 2 || !axis.is_empty() {
            continue;
        }
        let (what, from) = match group[0].row.plane {
            harness_record::Plane::Detect => {
                ("Latency of detection", "from the last exit to the verdict")
            }
            harness_record::Plane::Kill => {
                ("Duration of the kill", "from the decision to nothing left")
            }
        };
        let drawn: Vec<Line> = cells.iter().map(|c| line(c, &cells)).collect();
        let n = cells.iter().map(|c| c.row.n).max().unwrap_or(0);
        drawings.push(Drawing {
            slug: format!("ecdf {}", group[0].row.label),
            title: format!("{what}, {}", group[0].row.label),
            caption: format!(
                "Share of up to {n} trials, {from}, on a logarithmic axis. Where a line ends below \
                    100 %, the rest was missed or wrong. Lines are sorted by their median, from {} \
                    on.",
                text::bound(cells[0].median())
            ),
            body: lines(
                (from, Scale::LogNs),
                ("share of trials", Scale::Share),
                &drawn,
            ),
        });
    }
    drawings
}

/// A step function with no more steps than the drawing has points.
fn line(cell: &Cell<'_>, all: &[&Cell<'_>]) -> Line {
    let seen = cell.latency.seen();
    let positive = |v: u64| real(v.max(1));
    let ends = all.iter().flat_map(|c| {
        [c.latency.seen().first(), c.latency.seen().last()]
            .into_iter()
            .flatten()
    });
    let (low, high) = ends.fold((f64::INFINITY, 1f64), |(low, high), v| {
        (low.min(positive(*v)), high.max(positive(*v)))
    });
    let step = (high / low).max(1.01).powf(2.0 / f64::from(WIDTH));
    let mut points = Vec::new();
    let mut share = 0.0;
    let mut next = 0.0;
    for (at, value) in seen.iter().enumerate() {
        let (x, y) = (
            positive(*value),
            real(at as u64 + 1) / real(cell.row.n as u64),
        );
        if x >= next || at + 1 == seen.len() {
            points.push((x, share));
            points.push((x, y));
            share = y;
            next = x * step;
        }
    }
    Line {
        name: cell.name(),
        points,
        bars: Vec::new(),
        marked: false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn real(value: u64) -> f64 {
    value as f64
}
