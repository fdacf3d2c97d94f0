//! Scores for people and for programs.

use anyhow::Context;
use scenarios::formats::table::plain;
use scenarios::formats::{Case, Ended, Suite};

use crate::score::{Cell, Score, Scores, Verdict};

/// As JSON, one line for each trial.
pub(super) fn json(scores: &Scores) -> anyhow::Result<String> {
    let value = serde_json::to_value(scores).context("could not write JSON")?;
    Ok(lines(&value, 0) + "\n")
}

/// Indented down to cells and trials, each of which is one line: a file that can be compared line
/// by line.
fn lines(value: &serde_json::Value, depth: usize) -> String {
    /// Scores, the list of launchers, one of them, its lists.
    const OPEN: usize = 4;
    let indent = "  ".repeat(depth + 1);
    let close = "  ".repeat(depth);
    let items: Vec<String> = match value {
        serde_json::Value::Object(map) if depth < OPEN && !map.is_empty() => map
            .iter()
            .map(|(key, value)| {
                let key = serde_json::Value::from(key.as_str());
                format!("{indent}{key}: {}", lines(value, depth + 1))
            })
            .collect(),
        serde_json::Value::Array(all) if depth < OPEN && !all.is_empty() => all
            .iter()
            .map(|value| format!("{indent}{}", lines(value, depth + 1)))
            .collect(),
        other => return other.to_string(),
    };
    let (begin, end) = if value.is_object() {
        ('{', '}')
    } else {
        ('[', ']')
    };
    format!("{begin}\n{}\n{close}{end}", items.join(",\n"))
}

/// For a terminal: one launcher in detail, or several side by side.
pub(super) fn table(scores: &Scores) -> String {
    let mut text = match &scores.launchers[..] {
        [one] => detailed(one),
        _ => format!("{}\n", side_by_side(scores)),
    };
    for score in &scores.launchers {
        for cell in score.cells.iter().filter(|cell| is_bad(cell.verdict)) {
            text += &format!(
                "\n{} {} level {}: {}\n",
                score.launcher,
                cell.promise,
                cell.level,
                cell.why.as_deref().unwrap_or_default()
            );
            if let Some(again) = &cell.again {
                text += &format!("  {again}\n");
            }
        }
    }
    text += &format!("\n{}, seed {}\n", scores.kernel, scores.seed);
    text
}

pub(super) fn is_bad(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Broken | Verdict::Unknown)
}

fn detailed(score: &Score) -> String {
    let took = score.took_ms.map(|ms| format!(", {} s", ms / 1_000));
    let head = format!(
        "{}: {} {}{}\n\n",
        score.launcher,
        score.about,
        score.version,
        took.unwrap_or_default()
    );
    if let Some(why) = &score.skipped {
        return format!("{head}skipped: {why}\n");
    }
    if let Some(why) = &score.unusable {
        return format!("{head}unknown: {why}\n");
    }
    let mut table = plain(&["promise", "level", "verdict", "kept", "what was seen"]);
    for cell in &score.cells {
        let seen = match cell.verdict {
            Verdict::Kept => String::new(),
            _ => cell.why.clone().unwrap_or_default(),
        };
        let seen: String = seen.chars().take(100).collect();
        table.add_row([
            cell.promise.clone(),
            cell.level.to_string(),
            cell.verdict.word().to_owned(),
            counts(cell),
            seen,
        ]);
    }
    format!("{head}{table}\n")
}

/// `kept of judged`, and what is not known.
pub(super) fn counts(cell: &Cell) -> String {
    let mut text = match cell.judged() {
        0 => "-".to_owned(),
        judged => format!("{} of {judged}", cell.kept),
    };
    if cell.unknown > 0 {
        text += &format!(", {} unknown", cell.unknown);
    }
    text
}

/// The promises of all, in their order.
pub(super) fn promises(scores: &Scores) -> Vec<&str> {
    scores.promises.iter().map(String::as_str).collect()
}

pub(super) fn rows(scores: &Scores) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for score in &scores.launchers {
        let mut row = vec![score.launcher.clone()];
        if let Some(why) = score.skipped.as_ref().or(score.unusable.as_ref()) {
            row.push(why.chars().take(60).collect());
        } else {
            row.extend(promises(scores).iter().map(|promise| short(score, promise)));
        }
        rows.push(row);
    }
    rows
}

/// One launcher and promise in a few characters: for each level `+` kept in all trials, `-` in
/// none, `~` in some, `?` not known, `.` not played; `!` after what is claimed and not kept.
pub(super) fn short(score: &Score, promise: &str) -> String {
    let cells: Vec<&Cell> = score
        .cells
        .iter()
        .filter(|cell| cell.promise == promise)
        .collect();
    let mut text = String::new();
    for cell in cells {
        text.push(match (cell.kept, cell.broken, cell.unknown) {
            (0, 0, 0) => '.',
            (_, 0, 1..) => '?',
            (_, 0, 0) => '+',
            (0, ..) => '-',
            _ => '~',
        });
        if is_bad(cell.verdict) {
            text.push('!');
        }
    }
    text
}

/// What the signs in the tables mean.
pub(super) const LEGEND: &str = "A sign for each level, from 0: + kept in every trial, ~ in some, \
    - in none, ? not known, . not played. A ! follows what the adapter claims and the launcher did \
    not keep. An empty place: the launcher has nothing of the kind.";

fn side_by_side(scores: &Scores) -> String {
    let header: Vec<&str> = ["launcher"].into_iter().chain(promises(scores)).collect();
    let mut table = plain(&header);
    let mut skipped = String::new();
    for (row, score) in rows(scores).into_iter().zip(&scores.launchers) {
        match score.skipped.as_ref().or(score.unusable.as_ref()) {
            Some(_) => skipped += &format!("{}: {}\n", score.launcher, row[1..].join(" ")),
            None => {
                table.add_row(row);
            }
        }
    }
    format!("{table}\n\n{LEGEND}\n\n{skipped}")
}

/// One launcher is a suite, and a promise at a level is a test of it.
pub(super) fn suites(scores: &Scores) -> Vec<Suite> {
    scores.launchers.iter().map(suite).collect()
}

fn suite(score: &Score) -> Suite {
    let whole = |result| {
        vec![Case {
            name: "start".to_owned(),
            result,
        }]
    };
    let cases = match (&score.skipped, &score.unusable) {
        (Some(why), _) => whole(Ended::Skipped(why.clone())),
        (_, Some(why)) => whole(Ended::Failed(vec![why.clone()])),
        _ => score.cells.iter().map(case).collect(),
    };
    Suite {
        name: score.launcher.clone(),
        cases,
    }
}

fn case(cell: &Cell) -> Case {
    let why = cell.why.clone().unwrap_or_default();
    let seen = format!("kept in {}; {why}", counts(cell));
    Case {
        name: format!("{} level {}", cell.promise, cell.level),
        result: match cell.verdict {
            Verdict::Kept => Ended::Passed,
            Verdict::Skipped => Ended::Skipped(why),
            Verdict::NotClaimed => Ended::Skipped(format!("not claimed: {seen}")),
            Verdict::Broken | Verdict::Unknown => {
                let verdict = format!("{}: {seen}", cell.verdict.word());
                Ended::Failed(std::iter::once(verdict).chain(cell.again.clone()).collect())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::markdown;
    use super::*;

    fn cell(verdict: Verdict, kept: usize, broken: usize, unknown: usize) -> Cell {
        Cell {
            promise: "kill".to_owned(),
            level: 0,
            verdict,
            kept,
            broken,
            unknown,
            why: Some("kill/child: it\nlived".to_owned()),
            again: Some("again".to_owned()),
        }
    }

    fn scores(cells: Vec<Cell>) -> Scores {
        Scores {
            schema: 1,
            suite: "0".to_owned(),
            kernel: "Linux".to_owned(),
            promises: vec!["kill".to_owned()],
            seed: 1,
            options: String::new(),
            launchers: vec![Score {
                launcher: "x".to_owned(),
                about: "x".to_owned(),
                says: String::new(),
                version: "1".to_owned(),
                load: String::new(),
                took_ms: None,
                skipped: None,
                unusable: None,
                cells,
                trials: Vec::new(),
            }],
        }
    }

    #[test]
    fn each_verdict_has_its_sign_and_its_result() {
        for (verdict, counts, sign, passed) in [
            (Verdict::Kept, (3, 0, 0), "+", Some(true)),
            (Verdict::Broken, (2, 1, 0), "~!", Some(false)),
            (Verdict::Broken, (0, 3, 0), "-!", Some(false)),
            (Verdict::Unknown, (2, 0, 1), "?!", Some(false)),
            (Verdict::NotClaimed, (3, 0, 0), "+", None),
            (Verdict::NotClaimed, (0, 3, 0), "-", None),
            (Verdict::Skipped, (0, 0, 0), ".", None),
        ] {
            let scores = scores(vec![cell(verdict, counts.0, counts.1, counts.2)]);
            assert_eq!(short(&scores.launchers[0], "kill"), sign);
            let result = match suites(&scores)[0].cases[0].result {
                Ended::Passed => Some(true),
                Ended::Failed(_) => Some(false),
                Ended::Skipped(_) => None,
            };
            assert_eq!(result, passed, "{verdict:?}");
            let page = markdown::page(&scores, &markdown::Written::default());
            assert!(page.contains(&format!("| `{sign}` |")), "{page}");
            assert!(!page.contains("it\nlived"), "{page}");
        }
    }

    #[test]
    fn the_lines_of_the_record_are_json_again() {
        let scores = scores(vec![
            cell(Verdict::Kept, 1, 0, 0),
            cell(Verdict::Broken, 0, 1, 0),
        ]);
        let text = json(&scores).unwrap();
        assert_eq!(Scores::read(&text).unwrap(), scores);
        let one = text.lines().filter(|line| line.contains("\"verdict\""));
        assert_eq!(one.count(), 2, "{text}");
    }
}
