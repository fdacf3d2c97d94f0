//! One picture of the latencies of a series of kernels: every sample a dot on a logarithmic axis,
//! every median a bar. Such a simple picture needs no library, and its text is the same for the
//! same records.

use std::fmt::Write;

use super::record::Record;
use super::stats::median;

/// The cases drawn, and what they are called.
const CASES: [(&str, &str); 4] = [
    ("pidfd-poll", "poll of a pidfd"),
    ("cgroup-events-poll", "poll of cgroup.events"),
    ("cgroup-events-inotify", "inotify of cgroup.events"),
    ("cgroup-kill-poll", "poll of cgroup.kill"),
];

const LEFT: f64 = 330.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 18.0;
const TOP: f64 = 56.0;

/// An SVG of the time from the last exit to the waiter, of jobs with this lifetime (`0us`).
#[must_use]
pub fn latencies(records: &[Record], lifetime: &str) -> String {
    let rows: Vec<(String, &[u64])> = records
        .iter()
        .flat_map(|record| {
            CASES.iter().map(move |(case, words)| {
                let samples = record
                    .answers
                    .samples("latency", &format!("{case} {lifetime}"));
                (format!("{}: {words}", record.kernel), samples)
            })
        })
        .filter(|(_, samples)| !samples.is_empty())
        .collect();
    let all = || rows.iter().flat_map(|(_, samples)| samples.iter().copied());
    let axis = Axis::over(all().min().unwrap_or(1), all().max().unwrap_or(1));
    let emulated = records
        .iter()
        .any(|record| record.accelerator.is_emulated());
    let bottom = TOP + row_at(rows.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
            font-family=\"sans-serif\" font-size=\"11\">\n\
            <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
            <text x=\"10\" y=\"20\" font-size=\"14\">From the last exit to the waiter, job of \
            {lifetime}</text>\n\
            <text x=\"10\" y=\"36\">Each dot a trial, the bar their median, logarithmic \
            axis.{}</text>\n",
        LEFT + WIDTH + 20.0,
        bottom + 30.0,
        if emulated {
            " Emulated: only ratios within one kernel's rows mean anything."
        } else {
            ""
        }
    );
    for decade in axis.decades() {
        let x = axis.x(decade);
        line(&mut svg, (x, x), (TOP - 6.0, bottom), "#ddd", 1.0);
        text(&mut svg, x, bottom + 14.0, "middle", &in_words(decade));
    }
    for (index, (name, samples)) in rows.iter().enumerate() {
        let y = TOP + row_at(index) + ROW / 2.0;
        text(&mut svg, LEFT - 10.0, y + 4.0, "end", name);
        for ns in *samples {
            writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"#36c\" fill-opacity=\"0.3\"/>",
                axis.x(*ns)
            )
            .expect("a String takes every write");
        }
        if let Some(ns) = median(samples) {
            let x = axis.x(ns);
            line(&mut svg, (x, x), (y - 7.0, y + 7.0), "#c30", 2.0);
        }
    }
    svg + "</svg>\n"
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn row_at(index: usize) -> f64 {
    index as f64 * ROW
}

fn line(svg: &mut String, (x1, x2): (f64, f64), (y1, y2): (f64, f64), colour: &str, width: f64) {
    writeln!(
        svg,
        "<line x1=\"{x1:.1}\" x2=\"{x2:.1}\" y1=\"{y1:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
            stroke-width=\"{width}\"/>"
    )
    .expect("a String takes every write");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    )
    .expect("a String takes every write");
}

/// Whole decades around the samples.
struct Axis {
    low: u32,
    high: u32,
}

impl Axis {
    fn over(min_ns: u64, max_ns: u64) -> Self {
        let low = min_ns.max(1).ilog10();
        let high = max_ns.max(1).ilog10() + 1;
        Self { low, high }
    }

    fn decades(&self) -> impl Iterator<Item = u64> {
        (self.low..=self.high).map(|power| 10u64.saturating_pow(power))
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds below 2^53")]
    fn x(&self, ns: u64) -> f64 {
        let share =
            ((ns.max(1) as f64).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        LEFT + share * WIDTH
    }
}

fn in_words(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} us", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_has_whole_decades_around_the_samples() {
        let axis = Axis::over(51_000, 19_000_000);
        let decades: Vec<String> = axis.decades().map(in_words).collect();
        assert_eq!(decades, ["10 us", "100 us", "1 ms", "10 ms", "100 ms"]);
        assert!(
            (axis.x(10_000) - LEFT).abs() < 1e-6
                && (axis.x(100_000_000) - LEFT - WIDTH).abs() < 1e-6
        );
    }

    #[test]
    fn no_records_are_an_empty_picture() {
        let svg = latencies(&[], "0us");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
