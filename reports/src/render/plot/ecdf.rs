//! The share of trials that had a verdict, against time.

use harness_record::Plane;

use super::super::text;
use super::Drawing;
use super::canvas::{Axis, Chart, Labels, Line, Scale, chosen, of_all};
use super::svg::real;
use crate::analysis::{Campaign, Cell};

/// Fewer trials than this make no distribution.
const TRIALS: usize = 30;

/// How many steps a line may have.
const STEPS: f64 = 130.0;

/// One for each label of the detect plane that was run often enough, unless an axis with many
/// values has a better plot. Kills have bars.
pub(super) fn all(campaign: &Campaign<'_>) -> Vec<Drawing> {
    let mut drawings = Vec::new();
    for group in campaign
        .cells
        .chunk_by(|a, b| a.row.label == b.row.label && a.row.plane == b.row.plane)
    {
        let mut cells: Vec<&Cell<'_>> = group
            .iter()
            .filter(|c| c.row.n >= TRIALS && c.row.twin == 0 && !c.latency.seen().is_empty())
            .collect();
        let plane = group[0].row.plane;
        let axis = super::axis::axes(campaign, plane, &group[0].row.scenario);
        if plane != Plane::Detect || cells.len() < 2 || !axis.is_empty() {
            continue;
        }
        cells.sort_by_key(|cell| (cell.latency.median(), cell.name()));
        let names: Vec<&str> = cells.iter().map(|cell| cell.mechanism()).collect();
        let drawn: Vec<&Cell<'_>> = chosen(&names).into_iter().map(|at| cells[at]).collect();
        drawings.push(draw(campaign, &group[0].row.label, &drawn, cells.len()));
    }
    drawings
}

fn draw(campaign: &Campaign<'_>, label: &str, cells: &[&Cell<'_>], of: usize) -> Drawing {
    let ends = cells.iter().flat_map(|c| {
        let seen = c.latency.seen();
        [seen.first(), seen.last()].into_iter().flatten()
    });
    let from = "from the last exit to the verdict";
    let x = Axis::around(
        from,
        Scale::LogNs,
        ends.map(|v| ns(*v)),
        super::tick_ns(campaign),
    );
    let lines: Vec<Line> = cells.iter().map(|c| line(c, &x)).collect();
    let n = cells.iter().map(|c| c.row.n).max().unwrap_or(0);
    let title = format!("Latency of detection, {label}");
    let chart = Chart {
        size: super::SIZE,
        y: Axis::around("share of trials", Scale::Share, std::iter::empty(), None),
        x,
        bands: Vec::new(),
        labels: Labels::Within,
        lines: &lines,
    };
    Drawing {
        slug: format!("ecdf {label}"),
        body: chart.draw(&title),
        html: None,
        caption: format!(
            "Share of up to {n} trials, {from}, on a logarithmic axis. Where a line ends below \
                100 %, the rest was missed or wrong. Lines are sorted by their median, from {} \
                on.{}{}",
            text::bound(cells[0].median()),
            super::ticks_in_words(campaign),
            of_all(cells.len(), of)
        ),
        title,
    }
}

/// A step function with no more steps than the drawing can show.
fn line(cell: &Cell<'_>, x: &Axis) -> Line {
    let seen = cell.latency.seen();
    let step = (x.high / x.low).powf(1.0 / STEPS);
    let mut points = Vec::new();
    let (mut share, mut next) = (0.0, 0.0);
    for (at, value) in seen.iter().enumerate() {
        let (value, reached) = (ns(*value), real(at + 1) / real(cell.row.n));
        if value >= next || at + 1 == seen.len() {
            points.push((value, share, String::new()));
            points.push((value, reached, String::new()));
            share = reached;
            next = value * step;
        }
    }
    // A line that stops goes on at its height.
    points.push((x.high, share, String::new()));
    let of = |permille| text::quantile(cell.latency.quantile(permille));
    Line {
        name: cell.name(),
        words: format!("{}: median {}, p99 {}", cell.name(), of(500), of(990)),
        points,
        bars: Vec::new(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn ns(value: u64) -> f64 {
    value.max(1) as f64
}
