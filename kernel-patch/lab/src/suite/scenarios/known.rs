//! The list of rows that are known not to be as expected on a kernel.
//!
//! A line is `KERNELS: PLANE SCENARIO MECHANISM: HOW: WHY`. A `*` stands for any text in names, and
//! several kernels or ways stand with commas between them. A row of the list has to differ in that
//! way; with `? ` before it, it may go either way.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::result::{Differs, Outcome};
use super::run::{Row, Run};

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The line as it is written, for messages.
    pub line: String,
    /// Whether a row may also be as expected.
    pub may: bool,
    kernels: Vec<String>,
    row: String,
    how: Vec<String>,
    /// Why the row differs.
    pub why: String,
}

/// Reads a list.
///
/// # Errors
/// When it cannot be read, or a line is not of the form that the head of this file has.
pub fn read(path: &Path) -> Result<Vec<Known>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| (index, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            Known::parse(line).with_context(|| format!("{}:{}", path.display(), index + 1))
        })
        .collect()
}

impl Known {
    fn parse(line: &str) -> Result<Self> {
        let rest = line.strip_prefix("? ");
        let parts: Vec<&str> = rest
            .unwrap_or(line)
            .splitn(4, ": ")
            .map(str::trim)
            .collect();
        let [kernels, row, how, why] = parts[..] else {
            bail!("not of the form KERNELS: PLANE SCENARIO MECHANISM: HOW: WHY: {line}")
        };
        if row.split(' ').count() < 3 || why.is_empty() {
            bail!("a row is PLANE SCENARIO MECHANISM, and needs a reason: {line}")
        }
        let list = |text: &str| text.split(',').map(|name| name.trim().to_owned()).collect();
        Ok(Self {
            line: line.to_owned(),
            may: rest.is_some(),
            kernels: list(kernels),
            row: row.to_owned(),
            how: list(how),
            why: why.to_owned(),
        })
    }

    fn is_of(&self, kernel: &str) -> bool {
        self.kernels.iter().any(|name| matches(name, kernel))
    }

    fn has_row(&self, row: &Row) -> bool {
        matches(&self.row, &row.name)
    }

    fn has_way(&self, how: &str) -> bool {
        self.how.iter().any(|known| matches(known, how))
    }
}

/// Whether `text` is as `pattern` says, where a `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| matches(after, &rest[at..]))
        }),
    }
}

impl Outcome {
    /// Compares a run on `kernel` with the list.
    #[must_use]
    pub fn of(kernel: &str, run: &Run, list: &[Known]) -> Self {
        let list: Vec<&Known> = list.iter().filter(|known| known.is_of(kernel)).collect();
        let mut outcome = Self::begin(kernel, run);
        for row in run.rows.iter().filter(|row| row.trials > 0) {
            for (how, note) in &row.differs {
                let known = list
                    .iter()
                    .find(|known| known.has_row(row) && known.has_way(how));
                outcome.differing.push(Differs {
                    row: row.name.clone(),
                    how: how.clone(),
                    expected: row.expected.clone(),
                    note: note.clone(),
                    why: known.map(|known| known.why.clone()),
                });
            }
            outcome.as_expected += usize::from(row.differs.is_empty());
            let stale = list.iter().filter(|known| {
                let differs = row.differs.keys().any(|how| known.has_way(how));
                !known.may && known.has_row(row) && !differs
            });
            let told = stale.map(|known| format!("{}, by: {}", row.name, known.line));
            outcome.healed.extend(told);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::tests::three;
    use super::*;

    fn list(lines: &[&str]) -> Vec<Known> {
        lines
            .iter()
            .map(|line| Known::parse(line).unwrap())
            .collect()
    }

    fn judged(lines: &[&str]) -> (usize, usize, usize) {
        let outcome = Outcome::of("stock-6.1", &three(), &list(lines));
        let unknown = outcome.unknown().count();
        (outcome.as_expected, unknown, outcome.healed.len())
    }

    #[test]
    fn only_a_row_that_is_listed_may_differ_and_a_listed_row_has_to() {
        assert_eq!(judged(&[]), (1, 1, 0));
        let line = "stock-6.1: kill setsid k: not-ready: it is slow";
        assert_eq!(judged(&[line]), (1, 0, 0));
        // Another kernel, another row, another way.
        for other in [
            "stock-6.12: kill setsid k: not-ready: it is slow",
            "stock-6.1: detect setsid k: not-ready: it is slow",
        ] {
            assert_eq!(judged(&[other]), (1, 1, 0), "{other}");
        }
        let one_of = "stock-6.1: kill setsid k: missed, not-ready: it is slow";
        assert_eq!(judged(&[one_of]), (1, 0, 0));
        let healed = "stock-6.1: kill setsid k: survived: it is slow";
        assert_eq!(judged(&[healed]), (1, 1, 1));
        // A row that differs, and one that does not.
        assert_eq!(
            judged(&["stock-*, x: * setsid *: not-ready: slow"]),
            (1, 0, 1)
        );
        assert_eq!(judged(&["? stock-*: * setsid *: *: slow"]), (1, 0, 0));
        // Of a row that was not run the list says nothing wrong.
        assert_eq!(
            judged(&[line, "*: kill sleepers k: early: slow"]),
            (1, 0, 0)
        );
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, same) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c*", "abcd", true),
            ("*d", "abcd", true),
            ("a*b", "ac", false),
        ] {
            assert_eq!(matches(pattern, text), same, "{pattern} {text}");
        }
    }

    #[test]
    fn a_line_needs_a_row_and_a_reason() {
        for line in [
            "stock-6.1: kill setsid: x: y",
            "kill setsid k: early: why",
            "a",
        ] {
            assert!(Known::parse(line).is_err(), "{line}");
        }
    }
}
