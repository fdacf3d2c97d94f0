//! What plots of lines share: axes with ticks, marked ranges, lines with their names at them.

use super::super::text;
use super::svg::{Anchor, Sheet, real, short, width};

/// Lines of one plot. More than these cannot be told apart.
pub(super) const SERIES: usize = 5;

/// One line of a plot.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub name: String,
    /// Points, with the words for each; no words, no mark.
    pub points: Vec<(f64, f64, String)>,
    /// Vertical bars: where, from, to.
    pub bars: Vec<(f64, f64, f64)>,
    /// What is shown where one points at the line itself.
    pub words: String,
}

/// How an axis is divided and written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Nanoseconds, logarithmic.
    LogNs,
    /// A count, logarithmic.
    LogCount,
    /// A share from 0 to 1.
    Share,
    /// Nanoseconds from 0, with a tick at each multiple of so many.
    Ns(f64),
}

/// An axis: its name, its scale, and its ends.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub name: String,
    pub scale: Scale,
    pub low: f64,
    pub high: f64,
    /// The length of a tick of the kernel's timer, if its multiples are to be drawn.
    pub tick_ns: Option<f64>,
    /// Where a value of zero stands on a logarithmic axis.
    pub zero: Option<f64>,
}

/// A range of the x-axis that means something.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub class: &'static str,
    pub from: f64,
    pub to: f64,
    pub words: String,
    /// Written at its upper end; may be empty.
    pub label: String,
}

/// Where the names of the lines stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    /// To the right of the plot, with a leader to the line's last point.
    AtEnd,
    /// Within the plot, at the line: for lines that rise from 0 to 1.
    Within,
}

/// A plot of lines.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub size: (f64, f64),
    pub x: Axis,
    pub y: Axis,
    pub bands: Vec<Band>,
    pub labels: Labels,
    pub lines: &'a [Line],
}

/// The part of the sheet within the axes.
#[derive(Clone, Copy, Debug)]
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Axis {
    /// One whose ends are those of the values, with a little room.
    pub(super) fn around(
        name: &str,
        scale: Scale,
        values: impl Iterator<Item = f64>,
        tick_ns: Option<f64>,
    ) -> Self {
        let (low, high) = values.fold((f64::INFINITY, 0f64), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let (low, high) = match scale {
            Scale::Share => (0.0, 1.0),
            Scale::Ns(step) => (0.0, ((high * 1.04) / step).ceil().max(1.0) * step),
            _ if low.is_finite() && low > 0.0 => (low * 0.8, (high * 1.25).max(low * 3.0)),
            _ => (1.0, 10.0),
        };
        Self {
            name: name.to_owned(),
            scale,
            low,
            high,
            tick_ns,
            zero: None,
        }
    }

    /// Where a value stands, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::LogNs | Scale::LogCount => {
                (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
            }
            Scale::Share | Scale::Ns(_) => (value - self.low) / (self.high - self.low),
        };
        part.clamp(0.0, 1.0)
    }

    /// Values with a line across the plot, and whether they are written.
    fn ticks(&self) -> Vec<(f64, bool)> {
        match self.scale {
            Scale::Share => (0..=4).map(|n| (f64::from(n) / 4.0, true)).collect(),
            Scale::Ns(step) => {
                let count = (self.high / step).round();
                let each = (count / 8.0).ceil().max(1.0);
                (0..=1_000)
                    .map(|n| f64::from(n) * each * step)
                    .take_while(|v| *v <= self.high * 1.001)
                    .map(|v| (v, true))
                    .collect()
            }
            Scale::LogNs | Scale::LogCount => {
                let decades = (self.high / self.low).log10();
                let first = self.low.log10().floor();
                let mut ticks = Vec::new();
                for decade in 0..16 {
                    let whole = 10f64.powf(first + f64::from(decade));
                    for (factor, up_to) in [(1.0, 16.0), (2.0, 2.2), (5.0, 2.9)] {
                        let value = whole * factor;
                        if value >= self.low && value <= self.high {
                            ticks.push((value, decades <= up_to));
                        }
                    }
                }
                ticks
            }
        }
    }

    /// A value as it is written at the axis.
    fn write(&self, value: f64) -> String {
        match self.scale {
            Scale::Ns(_) if whole(value) == 0 => "0".to_owned(),
            Scale::Share => format!("{:.0} %", value * 100.0),
            Scale::LogCount => text::grouped(whole(value)),
            Scale::Ns(_) | Scale::LogNs => round_ns(whole(value)),
        }
    }
}

/// A round number of nanoseconds: `5 ms`.
pub(super) fn round_ns(ns: u64) -> String {
    text::ns(ns).replace(".00 ", " ").replace(".0 ", " ")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "values of an axis are positive and far below 2^52"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

impl Chart<'_> {
    /// The drawing, with a name for those who cannot see it.
    pub(super) fn draw(&self, name: &str) -> String {
        let mut sheet = Sheet::new(self.size.0, self.size.1);
        self.draw_on(&mut sheet, (0.0, 0.0));
        sheet.finish(name)
    }

    /// The same as a part of a larger sheet.
    pub(super) fn draw_on(&self, sheet: &mut Sheet, at: (f64, f64)) {
        let names = self.lines.iter().flat_map(|line| wrapped(&line.name));
        let margin = match self.labels {
            Labels::AtEnd => names.map(|n| width(&n, 11.0)).fold(0.0, f64::max) + 18.0,
            Labels::Within => 12.0,
        };
        let frame = Frame {
            left: at.0 + 52.0,
            right: at.0 + self.size.0 - margin,
            top: at.1 + 24.0,
            bottom: at.1 + self.size.1 - 38.0,
        };
        let x = |v: f64| frame.left + self.x.part(v) * (frame.right - frame.left);
        let y = |v: f64| frame.bottom - self.y.part(v) * (frame.bottom - frame.top);
        for band in &self.bands {
            let (from, to) = (x(band.from), x(band.to));
            sheet.area(
                band.class,
                (from, frame.top),
                (to - from, frame.bottom - frame.top),
                &band.words,
            );
        }
        self.axes(sheet, frame);
        for band in self.bands.iter().filter(|band| !band.label.is_empty()) {
            sheet.text(
                "s b",
                (x(band.from) + 5.0, frame.top + 13.0),
                Anchor::Start,
                &band.label,
            );
        }
        for (index, line) in self.lines.iter().enumerate() {
            for (at, from, to) in &line.bars {
                let class = format!("i c{index}");
                sheet.line(&class, (x(*at), y(*from)), (x(*at), y(*to)));
            }
            let points = line.points.iter().map(|(px, py, _)| (x(*px), y(*py)));
            sheet.path(&format!("p c{index}"), &polyline(points), &line.words);
        }
        // Marks are drawn above all lines.
        for (index, line) in self.lines.iter().enumerate() {
            for (px, py, words) in line.points.iter().filter(|(_, _, words)| !words.is_empty()) {
                sheet.dot(&format!("f{index}"), (x(*px), y(*py)), words);
            }
        }
        match self.labels {
            Labels::AtEnd => self.labels_at_end(sheet, frame, &x, &y),
            Labels::Within => self.labels_within(sheet, frame, &x, &y),
        }
    }

    fn axes(&self, sheet: &mut Sheet, frame: Frame) {
        let x = |v: f64| frame.left + self.x.part(v) * (frame.right - frame.left);
        let y = |v: f64| frame.bottom - self.y.part(v) * (frame.bottom - frame.top);
        let mut free = f64::NEG_INFINITY;
        for (value, written) in self.x.ticks() {
            let at = x(value);
            sheet.line("g", (at, frame.top), (at, frame.bottom));
            let words = self.x.write(value);
            let half = width(&words, 10.5) / 2.0;
            // What would run into its neighbour is left out.
            if written && at - half > free && at + half < frame.right + 16.0 {
                sheet.text("s", (at, frame.bottom + 14.0), Anchor::Middle, &words);
                free = at + half + 4.0;
            }
        }
        if let Some(zero) = self.x.zero {
            sheet.text("s", (x(zero), frame.bottom + 14.0), Anchor::Middle, "0");
        }
        for (value, written) in self.y.ticks() {
            sheet.line("g", (frame.left, y(value)), (frame.right, y(value)));
            if written {
                let words = self.y.write(value);
                sheet.text("s", (frame.left - 5.0, y(value) + 4.0), Anchor::End, &words);
            }
        }
        for n in 1..=5 {
            if let Some(tick) = self.y.tick_ns.map(|tick| tick * f64::from(n))
                && tick >= self.y.low
                && tick <= self.y.high
            {
                sheet.line("k", (frame.left, y(tick)), (frame.right, y(tick)));
            }
            if let Some(tick) = self.x.tick_ns.map(|tick| tick * f64::from(n))
                && tick >= self.x.low
                && tick <= self.x.high
            {
                sheet.line("k", (x(tick), frame.top), (x(tick), frame.bottom));
            }
        }
        sheet.line("m", (frame.left, frame.bottom), (frame.right, frame.bottom));
        sheet.line("m", (frame.left, frame.top), (frame.left, frame.bottom));
        let middle = f64::midpoint(frame.left, frame.right);
        sheet.text(
            "",
            (middle, frame.bottom + 31.0),
            Anchor::Middle,
            &self.x.name,
        );
        sheet.text(
            "",
            (frame.left - 46.0, frame.top - 9.0),
            Anchor::Start,
            &self.y.name,
        );
    }

    /// Names to the right of the plot, in the order of the lines' ends and never above each other.
    fn labels_at_end(
        &self,
        sheet: &mut Sheet,
        frame: Frame,
        x: &dyn Fn(f64) -> f64,
        y: &dyn Fn(f64) -> f64,
    ) {
        const LINE: f64 = 12.0;
        let mut ends: Vec<(usize, (f64, f64), Vec<String>)> = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let Some((px, py, _)) = line.points.last() else {
                continue;
            };
            let highest = line.points.iter().max_by(|a, b| a.1.total_cmp(&b.1));
            match highest.map(|(hx, hy, _)| (x(*hx), y(*hy))) {
                // A line that falls by much is named where it is alone.
                Some(at) if y(*py) - at.1 > (frame.bottom - frame.top) / 2.0 => {
                    let to = (at.0 + 10.0, at.1 + 4.0);
                    let class = format!("l f{index}");
                    sheet.text(&class, to, Anchor::Start, &line.name);
                }
                _ => ends.push((index, (x(*px), y(*py)), wrapped(&line.name))),
            }
        }
        ends.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
        // From the bottom upwards, each as low as it may be.
        let mut room = frame.bottom + 6.0;
        let mut places = vec![0.0; ends.len()];
        for (place, (_, (_, end), words)) in places.iter_mut().zip(&ends).rev() {
            let height = real(words.len()) * LINE;
            *place = (end - height / 2.0).min(room - height).max(2.0);
            room = *place - 3.0;
        }
        for (place, (index, end, words)) in places.iter().zip(&ends) {
            let from = frame.right + 12.0;
            let middle = place + real(words.len()) * LINE / 2.0;
            let leader = [*end, (frame.right + 2.0, end.1), (from - 2.0, middle)];
            sheet.path(&format!("i c{index}"), &polyline(leader.into_iter()), "");
            for (n, word) in words.iter().enumerate() {
                let at = (from, place + 9.5 + real(n) * LINE);
                sheet.text(&format!("l f{index}"), at, Anchor::Start, word);
            }
        }
    }

    /// Names at the lines, each at another height: those of early lines to the right of them, those
    /// of late ones to the left.
    fn labels_within(
        &self,
        sheet: &mut Sheet,
        frame: Frame,
        x: &dyn Fn(f64) -> f64,
        y: &dyn Fn(f64) -> f64,
    ) {
        let middle = f64::midpoint(frame.left, frame.right);
        let count = real(self.lines.len());
        for (index, line) in self.lines.iter().enumerate() {
            let height = 0.12 + 0.76 * (1.0 - (real(index) + 0.5) / count);
            let crossing = line.points.iter().find(|(_, share, _)| *share >= height);
            let Some((at, share, _)) = crossing.or(line.points.last()) else {
                continue;
            };
            let (px, py) = (x(*at), y(height.min(*share)));
            sheet.dot(&format!("f{index}"), (px, py), &line.words);
            let (to, anchor) = match px < middle {
                true => (px + 6.0, Anchor::Start),
                false => (px - 6.0, Anchor::End),
            };
            sheet.text(&format!("l f{index}"), (to, py + 4.0), anchor, &line.name);
        }
    }
}

/// A path through points.
pub(super) fn polyline(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut d = String::new();
    for (n, (x, y)) in points.enumerate() {
        d.push(if n == 0 { 'M' } else { 'L' });
        d.push_str(&format!("{} {}", short(x), short(y)));
    }
    d
}

/// A long name in two lines, broken near its middle.
fn wrapped(name: &str) -> Vec<String> {
    if name.len() <= 14 {
        return vec![name.to_owned()];
    }
    let breaks = name
        .match_indices(['-', '+', ' ', ','])
        .map(|(at, _)| at + 1);
    let best = breaks.min_by_key(|at| (at * 2).abs_diff(name.len()));
    match best.filter(|at| *at < name.len()) {
        Some(at) => vec![
            name[..at].trim_end().to_owned(),
            name[at..].trim_start().to_owned(),
        ],
        None => vec![name.to_owned()],
    }
}

/// Which of many lines are drawn, sorted by how early they are: those that others are compared
/// with, the first, the last, and some between, evenly.
pub(super) fn chosen(names: &[&str]) -> Vec<usize> {
    if names.len() <= SERIES {
        return (0..names.len()).collect();
    }
    let known = crate::analysis::REFERENCES
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect::<Vec<&str>>();
    let mut kept: Vec<usize> = vec![0, names.len() - 1];
    let references = names.iter().enumerate().filter(|(_, n)| known.contains(n));
    for (at, _) in references {
        if kept.len() < SERIES && !kept.contains(&at) {
            kept.push(at);
        }
    }
    // The largest gap is halved until there are enough.
    while kept.len() < SERIES {
        kept.sort_unstable();
        let gaps = kept.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
        let Some((gap, from)) = gaps.max_by_key(|(gap, from)| (*gap, usize::MAX - from)) else {
            break;
        };
        kept.push(from + gap / 2);
    }
    kept.sort_unstable();
    kept
}

/// Which lines were drawn of how many, if not all.
pub(super) fn of_all(drawn: usize, all: usize) -> String {
    match drawn < all {
        true => format!(
            " {drawn} of {all} are drawn: the first, the last, those that others are compared \
                with, and some between; the table has all."
        ),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_of_many_are_chosen_with_those_that_others_are_compared_with() {
        let names = [
            "a",
            "b",
            "waitpid-main",
            "c",
            "d",
            "e",
            "f",
            "g",
            "cgroup-events-poll",
            "h",
        ];
        assert_eq!(chosen(&names), [0, 2, 5, 8, 9]);
        assert_eq!(chosen(&names[..4]), [0, 1, 2, 3]);
    }

    #[test]
    fn a_logarithmic_axis_has_enough_ticks() {
        for (low, high) in [(1e5, 3e5), (1e5, 2e7), (10.0, 1e9)] {
            let axis = Axis::around("x", Scale::LogNs, [low, high].into_iter(), None);
            let written = axis.ticks().iter().filter(|(_, written)| *written).count();
            assert!((2..=9).contains(&written), "{low} to {high}: {written}");
        }
    }

    #[test]
    fn a_long_name_is_broken_once() {
        assert_eq!(
            wrapped("subreaper+cgroup-events"),
            ["subreaper+", "cgroup-events"]
        );
        assert_eq!(wrapped("waitpid-main"), ["waitpid-main"]);
    }
}
