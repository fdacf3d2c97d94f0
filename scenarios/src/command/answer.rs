//! The end of a run on one screen: the answer first, then the rows that matter, no wider and no
//! longer than a terminal.
//!
//! Rows that did not end as expected are part of the answer. The others are all printed if they
//! fit. Otherwise each scenario gets as many rows as fit: the fastest, the recommended, the latest,
//! and those that were wrong. They are chosen by the trials, not from a list of names.

use std::collections::BTreeSet;

use harness::expect::Plane;
use harness::kill::RECOMMENDED;
use harness::record::Outcome;

use super::lines::{Line, WIDTH, cut, list, wrapped};
use super::report::{EMULATED, Report};
use super::summary::Row;
use super::table::{ENOUGH_FOR_P99, FAILED, as_expected, duration, outcomes};
use super::verdict;

/// Lines of a page. A terminal of 40 lines shows it together with the prompt and the text on
/// standard error.
pub(super) const HEIGHT: usize = 38;
/// Failures that are described one by one, in lines.
const TOLD: usize = 12;
/// Things left behind that are described one by one.
const LEFT: usize = 5;
/// Names in a list.
const FEW: usize = 3;

/// Columns of a duration.
const TIME: usize = 9;

/// The verdict: whether the run is complete, whether every expectation held, and whether something
/// was left behind.
pub(super) fn head(report: &Report<'_>) -> Vec<Line> {
    let mut lines = verdict::expectations(report.rows, report.planned, report.ended);
    if report.leaks.is_empty() {
        lines.push(Line::plain("Nothing was left behind."));
    } else {
        lines.push(Line::failed(
            "Left behind (`scenario clean` removes cgroups and what lives in them):",
        ));
        let each = report.leaks.iter().flat_map(|leak| wrapped("  ", leak, 4));
        lines.extend(each.map(Line::failed));
    }
    lines
}

/// The whole page.
pub(super) fn page(report: &Report<'_>) -> Vec<Line> {
    let mut lines = shortened(head(report));
    if report.emulated {
        lines.extend(wrapped("", EMULATED, 0).into_iter().map(Line::plain));
    }
    let notes = report.notes.iter().flat_map(|note| wrapped("", note, 2));
    lines.extend(notes.map(Line::plain));
    let mut foot = vec![Line::plain("")];
    foot.extend(absent(report).map(Line::plain));
    let place = format!(
        "All rows, costs and stages: {}/{SUMMARY}",
        report.out.display()
    );
    foot.push(Line::plain(match place.chars().count() > WIDTH {
        true => format!("All rows, costs and stages: --all, or {SUMMARY} beside the trials."),
        false => place,
    }));

    let planes: Vec<Part<'_>> = [Plane::Detect, Plane::Kill]
        .into_iter()
        .filter_map(|plane| Part::of(report.rows, plane))
        .collect();
    let room = HEIGHT.saturating_sub(lines.len() + foot.len());
    let mut last = fullest(&planes, room);
    if last.len() > room {
        let more = last.len() - room.saturating_sub(1);
        last.truncate(room.saturating_sub(1));
        last.push(Line::plain(format!(
            "  … and {more} more lines (--all prints every row)"
        )));
    }
    lines.extend(last);
    lines.extend(foot);
    lines
}

/// As much of both planes as there is room for; the shortest form where there is not even room for
/// that.
fn fullest(planes: &[Part<'_>], room: usize) -> Vec<Line> {
    let mut forms: Vec<Vec<Line>> = vec![Vec::new()];
    for part in planes {
        let longer = forms.iter().flat_map(|form| {
            Detail::EACH.map(|detail| {
                let mut form = form.clone();
                form.extend(part.lines(detail));
                form
            })
        });
        forms = longer.collect();
    }
    let shortest = forms.iter().min_by_key(|form| form.len()).cloned();
    // Of two that are as long the one with more rows comes first, and the last of equals is taken.
    let fitting = forms.into_iter().rev().filter(|form| form.len() <= room);
    fitting
        .max_by_key(Vec::len)
        .or(shortest)
        .unwrap_or_default()
}

/// The file beside the trials that has every row.
pub(super) const SUMMARY: &str = "summary.txt";

/// A head that leaves room for the rest.
fn shortened(lines: Vec<Line>) -> Vec<Line> {
    let told = lines
        .iter()
        .filter(|line| line.text.starts_with("  "))
        .count();
    let keep = TOLD.max(LEFT);
    if told <= keep {
        return lines;
    }
    let mut kept = Vec::new();
    let mut seen = 0;
    for line in lines {
        let detail = line.text.starts_with("  ");
        seen += usize::from(detail);
        if !detail || seen < keep {
            kept.push(line);
        } else if seen == keep {
            kept.push(Line::failed(format!(
                "  … and {} more lines (--all prints them)",
                told - keep + 1
            )));
        }
    }
    kept
}

/// What was not run, in one line.
fn absent(report: &Report<'_>) -> Option<String> {
    let missing: BTreeSet<&str> = report
        .skipped
        .iter()
        .filter(|skip| skip.scenario.is_none())
        .map(|skip| skip.mechanism.as_str())
        .collect();
    let pairs = report
        .skipped
        .iter()
        .filter(|skip| skip.scenario.is_some())
        .count();
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("{} mechanisms not available here", missing.len()));
    }
    if pairs > 0 {
        parts.push(format!("{pairs} pairs not applicable"));
    }
    (!parts.is_empty()).then(|| format!("{} (--all says why).", parts.join(", ")))
}

/// How much of each scenario is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// Every row.
    All,
    /// So many of the fastest, the recommended, the latest, and those that were wrong.
    Some(usize),
    /// One line.
    Line,
}

impl Detail {
    const EACH: [Self; 5] = [
        Self::All,
        Self::Some(3),
        Self::Some(2),
        Self::Some(1),
        Self::Line,
    ];
}

/// One plane.
struct Part<'a> {
    plane: Plane,
    verdict: String,
    scenarios: Vec<Vec<&'a Row>>,
    tail: &'static str,
}

impl<'a> Part<'a> {
    fn of(rows: &'a [Row], plane: Plane) -> Option<Self> {
        let verdict = match plane {
            Plane::Detect => verdict::detect(rows),
            Plane::Kill => verdict::kill(rows),
        }?;
        let rows = verdict::of_plane(rows, plane);
        let tail = match rows.iter().any(|row| row.latency.len() >= ENOUGH_FOR_P99) {
            true => "p99",
            false => "max",
        };
        let scenarios = rows.chunk_by(|a, b| a.key.scenario == b.key.scenario);
        Some(Self {
            plane,
            verdict,
            scenarios: scenarios.map(<[&Row]>::to_vec).collect(),
            tail,
        })
    }

    fn lines(&self, detail: Detail) -> Vec<Line> {
        let mut lines = vec![Line::plain("")];
        lines.extend(wrapped("", &self.verdict, 2).into_iter().map(Line::plain));
        let title = match self.plane {
            Plane::Detect => "from the end of the last process to the verdict",
            Plane::Kill => "from the decision to kill to \"empty\"",
        };
        if detail != Detail::Line {
            lines.push(Line::plain(columns(title, "p50", self.tail)));
        }
        for rows in &self.scenarios {
            match detail {
                Detail::All => {
                    lines.push(heading(rows));
                    lines.extend(rows.iter().map(|row| self.row(row, &outcomes(row))));
                }
                Detail::Some(fastest) => {
                    lines.push(heading(rows));
                    lines.extend(self.few(rows, fastest));
                }
                Detail::Line => lines.push(self.one(rows)),
            }
        }
        lines
    }

    /// The rows of a scenario that did what is asked of all, fastest first.
    fn good(&self, rows: &[&'a Row]) -> Vec<&'a Row> {
        let mut good: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| self.is_good(row))
            .collect();
        good.sort_by_key(|row| row.latency.percentile(50).value());
        good
    }

    fn is_good(&self, row: &Row) -> bool {
        let all = |outcomes: &[Outcome]| {
            outcomes.iter().map(|o| row.count(*o)).sum::<usize>() == row.judged()
        };
        match self.plane {
            Plane::Detect => all(&[Outcome::Right, Outcome::Removed]),
            Plane::Kill => all(&[Outcome::Emptied]) && row.kill.canaries.is_empty(),
        }
    }

    fn few(&self, rows: &[&'a Row], fastest: usize) -> Vec<Line> {
        let good = self.good(rows);
        let of = good.len();
        let last = of.saturating_sub(1);
        let mut lines = Vec::new();
        for (at, row) in good.iter().enumerate() {
            let recommended = self.plane == Plane::Kill && row.key.mechanism == RECOMMENDED;
            let place = match at {
                0 => format!("fastest of {of}"),
                _ if at == last => format!("latest of {of}"),
                _ => format!("{} of {of}", ordinal(at + 1)),
            };
            if at < fastest || at == last || recommended {
                let note = if recommended { ", recommended" } else { "" };
                lines.push(self.row(row, &format!("{place}{note}")));
            }
        }
        for (what, guilty) in self.wrong(rows) {
            let names: Vec<&str> = guilty
                .iter()
                .map(|row| row.key.mechanism.as_str())
                .collect();
            let text = format!("    {what}: {}", list(&names, FEW));
            lines.push(Line::plain(cut(&text, WIDTH)));
        }
        lines
    }

    /// The mechanisms that were wrong, by kind; each is in the first kind that it belongs to.
    fn wrong(&self, rows: &[&'a Row]) -> Vec<(&'static str, Vec<&'a Row>)> {
        type Kind = (&'static str, fn(&Row) -> bool);
        let kinds: &[Kind] = match self.plane {
            Plane::Detect => &[
                ("too early", |row| row.count(Outcome::Early) > 0),
                ("missed the end", |row| row.count(Outcome::Missed) > 0),
                ("could not tell", |_| true),
            ],
            Plane::Kill => &[
                ("left something alive", |row| {
                    row.count(Outcome::Survived) > 0
                }),
                ("hit bystanders", |row| !row.kill.canaries.is_empty()),
                ("not judged in every trial", |_| true),
            ],
        };
        let mut wrong: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| !self.is_good(row))
            .collect();
        let mut told = Vec::new();
        for (what, is) in kinds {
            let (these, rest) = wrong.into_iter().partition::<Vec<_>, _>(|row| is(row));
            wrong = rest;
            if !these.is_empty() {
                told.push((*what, these));
            }
        }
        told
    }

    fn row(&self, row: &Row, note: &str) -> Line {
        let failed = row.failed() > 0;
        let note = match failed {
            true => format!("{note}: {}", as_expected(row)),
            false => note.to_owned(),
        };
        let quantile = match self.tail {
            "p99" if row.latency.len() >= ENOUGH_FOR_P99 => row.latency.percentile(99),
            _ => row.latency.max(),
        };
        let left = format!("    {:28} {note}", row.key.mechanism);
        let text = columns(
            &left,
            &duration(row.latency.percentile(50)),
            &duration(quantile),
        );
        Line { text, failed }
    }

    /// A scenario in one line.
    fn one(&self, rows: &[&'a Row]) -> Line {
        let good = self.good(rows);
        let failed = rows.iter().any(|row| row.failed() > 0);
        let name = &rows[0].key.scenario;
        let what = match self.plane {
            Plane::Detect => "right",
            Plane::Kill => "clean",
        };
        let mut text = format!("  {name}: {} of {} {what}", good.len(), rows.len());
        for (place, row) in [("fastest", good.first()), ("latest", good.last())] {
            if let Some(row) = row {
                let p50 = duration(row.latency.percentile(50));
                text.push_str(&format!("; {place} {} {p50}", row.key.mechanism));
            }
        }
        if failed {
            text = format!("  {FAILED}{}", text.trim_start());
        }
        Line {
            text: cut(&text, WIDTH),
            failed,
        }
    }
}

/// A scenario's name.
fn heading(rows: &[&Row]) -> Line {
    Line::plain(cut(&format!("  {}", rows[0].key.scenario), WIDTH))
}

/// Text, and two figures at the right margin.
fn columns(left: &str, p50: &str, tail: &str) -> String {
    let room = WIDTH - 2 * TIME;
    cut(
        &format!("{:room$}{p50:>TIME$}{tail:>TIME$}", cut(left, room)),
        WIDTH,
    )
}

fn ordinal(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
