//! The differences of two campaigns.

use super::{Origin, text};
use crate::analysis::{Diff, THRESHOLD};

/// The differences of two campaigns, in a sentence.
pub fn in_words(diff: &Diff) -> String {
    let changed = diff.changed().count();
    let rows = diff.rows.len();
    let told_apart = diff
        .rows
        .iter()
        .filter(|r| r.p_holm.is_some_and(|p| p < 0.05))
        .count();
    format!(
        "{changed} of {rows} rows changed between {} and {} (Holm-corrected p below 0.05 and the \
            whole interval of the ratio beyond {}; {told_apart} {} told apart by the test alone).",
        diff.before,
        diff.after,
        text::percent(THRESHOLD),
        if told_apart == 1 { "is" } else { "are" }
    )
}

/// The document of a comparison of two campaigns.
pub fn document(diff: &Diff) -> String {
    let origin = Origin {
        runs: diff.runs.clone(),
        recorded: Vec::new(),
    };
    format!(
        "{}\n# {} and {}\n\n{}\n\n{}",
        origin.comment(),
        diff.before,
        diff.after,
        in_words(diff),
        table(diff)
    )
}

/// All rows that two campaigns share.
pub fn table(diff: &Diff) -> String {
    let lines: Vec<Vec<String>> = diff
        .rows
        .iter()
        .map(|row| {
            let median = |at: usize| row.medians[at].map_or_else(|| "-".to_owned(), text::latency);
            let interval = row
                .interval
                .map_or([None, None], |(low, high)| [Some(low), Some(high)]);
            let p = |p: Option<f64>| p.map_or_else(|| "-".to_owned(), text::p);
            vec![
                row.label.clone(),
                format!("`{}`", row.mechanism),
                format!(
                    "{}/{} → {}/{}",
                    row.held[0], row.n[0], row.held[1], row.n[1]
                ),
                p(row.p_held),
                median(0),
                median(1),
                text::ratio(row.ratio, interval),
                p(row.p_holm),
                if row.is_change() {
                    "**changed**".to_owned()
                } else {
                    ".".to_owned()
                },
            ]
        })
        .collect();
    let mut out = text::table(
        &[
            "scenario",
            "mechanism",
            "as expected",
            "p (Holm)",
            &diff.before,
            &diff.after,
            "ratio of medians",
            "p (Holm)",
            "",
        ],
        &lines,
    );
    if !diff.alone.is_empty() {
        out.push_str(&format!(
            "\nIn one of them only: {}.\n",
            diff.alone.join("; ")
        ));
    }
    out
}
