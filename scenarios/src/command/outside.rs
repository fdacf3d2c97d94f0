//! The summary of `scenario exec`: what mechanisms said about a program whose end is only known
//! from outside, as an interval.

use std::collections::BTreeMap;

use harness::expect::Plane;
use harness::record::{TrialRecord, TruthSource};

use super::answer;
use super::lines::{self, Line, wrapped};
use super::report::{EMULATED, Report, push_table, skipped};
use super::stats::ns;
use super::summary::{Bounds, Row};
use super::table::{align_right, as_expected, narrow, outcomes};

/// What the truth was learned from, and how the first process ended, over all trials.
#[derive(Debug, Default)]
pub(super) struct Sources {
    trials: usize,
    truth: BTreeMap<TruthSource, usize>,
    ends: BTreeMap<String, usize>,
    left_its_cgroup: usize,
    widest_ns: Option<u64>,
}

impl Sources {
    /// Adds a trial; one of a scenario adds nothing.
    pub(super) fn add(&mut self, trial: &TrialRecord) {
        let Some(program) = &trial.program else {
            return;
        };
        self.trials += 1;
        for source in &program.truth {
            *self.truth.entry(*source).or_default() += 1;
        }
        let end = program.main.clone();
        let end = end.unwrap_or_else(|| "lived on, or was reaped by the detector".to_owned());
        *self.ends.entry(end).or_default() += 1;
        self.left_its_cgroup += usize::from(program.left_its_cgroup);
        if let (Some(lower), Some(upper)) = (trial.stamps.over_lower_ns, trial.stamps.over_upper_ns)
        {
            self.widest_ns = self.widest_ns.max(Some(upper.saturating_sub(lower)));
        }
    }

    /// In sentences.
    fn in_words(&self) -> Vec<String> {
        let counted = |all: Vec<(String, usize)>| {
            let all = all.iter().map(|(what, n)| match *n == self.trials {
                true => what.clone(),
                false => format!("{what} ({n} of {} trials)", self.trials),
            });
            all.collect::<Vec<_>>().join(", ")
        };
        let truth = self.truth.iter().map(|(source, n)| {
            let what = match source {
                TruthSource::Cgroup => "the cgroup",
                TruthSource::ProcessEvents => "the kernel's process events",
                TruthSource::Lease => "a lease on the program's own copy",
            };
            (what.to_owned(), *n)
        });
        let ends = self.ends.iter().map(|(end, n)| (end.clone(), *n));
        let mut words = vec![
            format!(
                "The end was learned from {}. {}",
                counted(truth.collect()),
                match self.widest_ns {
                    Some(widest) => format!("It lies in an interval of {} at most.", ns(widest)),
                    None => "It was not seen.".to_owned(),
                }
            ),
            format!("The first process: {}.", counted(ends.collect())),
        ];
        if self.left_its_cgroup > 0 {
            words.push(format!(
                "In {} of {} trials a process lived on outside of the program's cgroup.",
                self.left_its_cgroup, self.trials
            ));
        }
        words
    }
}

/// Everything, for people.
pub(super) fn text(report: &Report<'_>, sources: &Sources, colour: bool) -> String {
    let mut lines = answer::head(report);
    if sources.trials > 0 {
        let words = sources.in_words();
        lines.extend(
            words
                .iter()
                .flat_map(|words| wrapped("", words, 2))
                .map(Line::plain),
        );
    }
    lines.push(Line::plain(""));
    let emulated = report.emulated.then_some(EMULATED);
    for (plane, title) in [
        (
            Plane::Detect,
            "Detectors (latency: from the end of the program to the verdict, bounds of the median)",
        ),
        (
            Plane::Kill,
            "Strategies (latency: from the decision to kill to the end, bounds of the median)",
        ),
    ] {
        let rows = report.rows.iter().filter(|row| row.key.plane == plane);
        let rows: Vec<&Row> = rows.collect();
        if rows.is_empty() {
            continue;
        }
        let mut table = narrow(&["mechanism", "trials", "latency", "as expected"]);
        for row in rows {
            table.add_row([
                row.key.mechanism.clone(),
                outcomes(row),
                interval(&row.between),
                judgement(row),
            ]);
        }
        align_right(&mut table, 1..3);
        let title = wrapped("", title, 0).join("\n");
        push_table(&mut lines, [Some(&title), emulated], &table);
    }
    let mut text = lines::text(&lines, colour);
    skipped(&mut text, report.skipped);
    text
}

/// Bounds of a median: that of the lower bounds and that of the upper ones.
fn interval(between: &Bounds) -> String {
    let bounds = [&between.least, &between.most].map(|sample| sample.percentile(50).value());
    match bounds {
        [Some(least), Some(most)] => format!("{}–{}", ns(least), ns(most)),
        _ => "-".to_owned(),
    }
}

/// Whether it did as expected, where something was.
fn judgement(row: &Row) -> String {
    match row.expected.contains("no expectation") {
        true if row.failed() == 0 => "no expectation".to_owned(),
        _ => as_expected(row),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stats::Sample;
    use super::*;

    #[test]
    fn a_latency_is_an_interval_and_never_a_point() {
        let between = Bounds {
            least: Sample::new(vec![0], 0),
            most: Sample::new(vec![1_000_000], 0),
        };
        let text = interval(&between);
        assert!(text.contains('–') && text.ends_with("1.00 ms"), "{text}");
        assert_eq!(interval(&Bounds::default()), "-");
    }

    #[test]
    fn what_was_not_asked_in_every_trial_is_counted() {
        let mut sources = Sources {
            trials: 2,
            ..Sources::default()
        };
        sources.truth.insert(TruthSource::Cgroup, 2);
        sources.truth.insert(TruthSource::ProcessEvents, 1);
        sources.ends.insert("exited with 0".to_owned(), 2);
        let words = sources.in_words();
        assert!(
            words[0].contains("from the cgroup, the kernel's process events (1 of 2 trials)."),
            "{words:?}"
        );
        assert_eq!(words[1], "The first process: exited with 0.");
    }
}
