//! Recorded scores as a page of Markdown.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use super::output::{LEGEND, counts, promises, rows};
use crate::score::known::{Compared, Truth, notes, truths};
use crate::score::{Score, Scores, Verdict};

/// What is written by hand, for a page of recorded scores.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) notes: BTreeMap<String, String>,
    pub(super) truths: Vec<Truth>,
}

impl Written {
    pub(super) fn read() -> anyhow::Result<Self> {
        Ok(Self {
            notes: notes().context("could not understand the notes")?,
            truths: truths().context("could not understand the truths")?,
        })
    }
}

/// A page of Markdown: the table, what was known before, and what was seen of each launcher where
/// it did not keep something.
pub(super) fn page(scores: &Scores, written: &Written) -> String {
    let mut text = format!(
        "{}, {} launchers. {LEGEND}\n\n",
        scores.kernel,
        scores.launchers.len()
    );
    let mut line = |text_of_line: &str| {
        text.push_str(text_of_line);
        text.push('\n');
    };
    let header = promises(scores).join(" | ");
    line(&format!("| launcher | version | {header} |"));
    line(&format!(
        "|---|---|{}",
        "---|".repeat(promises(scores).len())
    ));
    for (row, score) in rows(scores).into_iter().zip(&scores.launchers) {
        if score.skipped.is_none() && score.unusable.is_none() {
            let cells = row.iter().skip(1).map(|cell| match cell.as_str() {
                "" => String::new(),
                cell => format!("`{cell}`"),
            });
            let cells: Vec<String> = cells.collect();
            line(&format!(
                "| {} | {} | {} |",
                score.launcher,
                score.version,
                cells.join(" | ")
            ));
        }
    }
    line("");
    if !written.truths.is_empty() {
        line("## What was known before\n");
        line(&format!("{KNOWN}\n"));
        line("| what was known | launchers | the record |\n|---|---|---|");
        for truth in &written.truths {
            line(&format!(
                "| {} | {} | {} |",
                truth.says,
                truth.launchers.join(", "),
                agreement(truth, scores)
            ));
        }
        line("\n## Launchers\n");
    }
    for score in &scores.launchers {
        let note = written.notes.get(&score.launcher);
        paragraph(score, note.map(String::as_str), &mut line);
    }
    text
}

/// What the table of truths is.
pub(super) const KNOWN: &str = "Before this suite existed, 75 ways of launching were tried by \
    hand. What was found then of launchers that are recorded here, and whether every trial of the \
    record says the same:";

/// Whether the record says what was known, and if not, why.
pub(super) fn agreement(truth: &Truth, scores: &Scores) -> String {
    let why = truth.differs.as_deref().unwrap_or("no reason is given");
    match truth.compare(scores) {
        Compared {
            agree: 0,
            differ: 0,
        } => "not played".to_owned(),
        Compared { agree, differ: 0 } => format!("agrees, in {agree} of {agree} trials"),
        Compared { agree, differ } => {
            format!("differs, in {differ} of {} trials. {why}", agree + differ)
        }
    }
}

/// What was seen of one launcher: the first counter-example of each promise that was not kept.
fn paragraph(score: &Score, note: Option<&str>, line: &mut impl FnMut(&str)) {
    line(&format!("### {}\n", score.launcher));
    line(&format!(
        "{}. {}{}\n",
        score.about,
        score.version,
        measured(score)
    ));
    if let Some(note) = note {
        line(&format!("{}\n", note.trim()));
    }
    if !score.says.is_empty() {
        line(&format!("Its documentation: {}\n", score.says));
    }
    if let Some(why) = &score.skipped {
        line(&format!("Not played: {why}.\n"));
    }
    if let Some(why) = &score.unusable {
        line(&format!("Not known: {why}.\n"));
    }
    let mut told = BTreeSet::new();
    for cell in &score.cells {
        let not_kept = cell.broken > 0 || cell.unknown > 0;
        if !not_kept || !told.insert(cell.promise.as_str()) {
            continue;
        }
        let claimed = match cell.verdict {
            Verdict::NotClaimed => "",
            _ => ", which the adapter claims",
        };
        line(&format!(
            "- `{}`, level {}: kept in {}{claimed}. {}",
            cell.promise,
            cell.level,
            counts(cell),
            one_line(cell.why.as_deref().unwrap_or_default())
        ));
    }
    line("");
}

/// How long the trials took, and the load meanwhile.
pub(super) fn measured(score: &Score) -> String {
    let took = score
        .took_ms
        .map(|ms| format!("; played in {} s", ms / 1_000));
    let load = match score.load.as_str() {
        "" => String::new(),
        load => format!("; load {load}"),
    };
    took.unwrap_or_default() + &load
}

fn one_line(text: &str) -> String {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars()
        .take(220)
        .collect::<String>()
        .replace('<', "&lt;")
}
