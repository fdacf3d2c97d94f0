//! The notification against the lifetime of a job, with the window in which the kernel holds it
//! back: the drawing that the page begins with, and its picture for links.

use harness_record::Plane;

use super::axis::{by_mechanism, line};
use super::canvas::{Axis, Band, Chart, Labels, Line, Scale, chosen, round_ns};
use super::svg::{Anchor, Sheet};
use crate::analysis::Analysis;
use crate::answers::{Answer, Window};

/// The drawing for a screen, the same for a telephone, and its words.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Its dataset.
    pub dataset: String,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// For a screen.
    pub wide: String,
    /// For a telephone.
    pub narrow: String,
}

/// The size of the picture for links, in units; it has twice as many pixels.
const PICTURE: (f64, f64) = (600.0, 315.0);

/// The drawing; nothing if no campaign has lifetimes.
pub fn opening(analysis: &Analysis<'_>) -> Option<Opening> {
    let window = Window::of(analysis)?;
    let all = Lines::of(&window);
    let title = format!(
        "How late the end is known, against the {} of the job",
        window.axis
    );
    Some(Opening {
        dataset: window.campaign.dataset.name.clone(),
        caption: format!(
            "Medians with their 95 % intervals ({}, {} trials of each). {}{}",
            window.scenario,
            window.campaign.dataset.plan.trials_per_row,
            all.words,
            super::ticks_in_words(window.campaign)
        ),
        wide: all.chart(&window, (660.0, 400.0)).draw(&title),
        narrow: all.chart(&window, (380.0, 290.0)).draw(&title),
        title,
    })
}

/// The picture that stands beside a link to the page.
pub fn picture(analysis: &Analysis<'_>, answers: &[Answer]) -> String {
    let mut sheet = Sheet::new(PICTURE.0, PICTURE.1);
    let mut y = 26.0;
    for answer in answers {
        sheet.text("h", (18.0, y), Anchor::Start, answer.question);
        sheet.text(
            "a",
            (18.0, y + 18.0),
            Anchor::Start,
            &format!("{}.", answer.short),
        );
        y += 44.0;
    }
    if let Some(window) = Window::of(analysis) {
        let chart = Lines::of(&window);
        let size = (PICTURE.0 - 20.0, PICTURE.1 - y + 10.0);
        chart
            .chart(&window, size)
            .draw_on(&mut sheet, (10.0, y - 14.0));
    }
    sheet.finish("The two questions, their answers, and latency against lifetime")
}

struct Lines {
    lines: Vec<Line>,
    bands: Vec<Band>,
    /// What the window is.
    words: String,
}

impl Lines {
    fn of(window: &Window<'_, '_>) -> Self {
        let all = by_mechanism(window.campaign, Plane::Detect, window.scenario, window.axis);
        let place = |ns: u64| real(ns);
        let mut lines: Vec<Line> = all
            .iter()
            .map(|(name, cells)| line(name, cells, window.axis, Scale::LogNs, &place))
            .filter(|line| !line.points.is_empty())
            .collect();
        // The latest for short jobs is drawn first, and has the first colour.
        let first = |line: &Line| line.points.first().map_or(0.0, |point| point.1);
        lines.sort_by(|a, b| first(b).total_cmp(&first(a)));
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        let lines = chosen(&names)
            .into_iter()
            .map(|at| lines[at].clone())
            .collect();
        // The kernel compares whole ticks, and its timer fires at the tick after: with HZ=250 a
        // second event is held for 3 ticks, until the fourth.
        let hz = window.campaign.dataset.machine.hz.filter(|hz| *hz > 0);
        let ticks = hz.map_or((10_000_000, 20_000_000), |hz| {
            let (tick, held) = (1_000_000_000 / u64::from(hz), u64::from(hz.div_ceil(100)));
            (held * tick, (held + 1) * tick)
        });
        let words = format!(
            "Shaded: the window. A notification within {} of another is held back, until at most \
                {} after it.",
            round_ns(ticks.0),
            round_ns(ticks.1)
        );
        let band = |class, from, to, label: &str| Band {
            class,
            from: real(from),
            to: real(to),
            words: words.clone(),
            label: label.to_owned(),
        };
        let bands = vec![
            band("w", 0, ticks.0, "notification window"),
            band("w2", ticks.0, ticks.1, ""),
        ];
        Self {
            lines,
            bands,
            words,
        }
    }

    fn chart(&self, window: &Window<'_, '_>, size: (f64, f64)) -> Chart<'_> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let tick = super::tick_ns(window.campaign).filter(|tick| *tick >= 1e6);
        let highest = points().map(|p| p.1).fold(0.0, f64::max);
        let ends = points().map(|p| p.0);
        Chart {
            size,
            x: Axis::around(
                &format!("{} of the job", window.axis),
                Scale::Ns(5e6),
                ends,
                None,
            ),
            y: Axis::around(
                "from the end to the verdict",
                Scale::Ns(tick.unwrap_or(4e6)),
                [highest * 1.15].into_iter(),
                tick,
            ),
            bands: self.bands.clone(),
            labels: Labels::AtEnd,
            lines: &self.lines,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn real(value: u64) -> f64 {
    value as f64
}
