//! What became of a run on one kernel, kept as `result.json`, and the table of all of them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::run::{Run, Skip};

/// The version of the result's shape.
pub const SCHEMA: u32 = 1;

/// A row that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differs {
    /// `PLANE SCENARIO MECHANISM`.
    pub row: String,
    /// The outcome, or why the trial broke.
    pub how: String,
    /// What was expected, in words.
    pub expected: String,
    /// The trial's note.
    pub note: String,
    /// Why, as the list of known rows says; absent if that does not have it.
    pub why: Option<String>,
}

/// Something that a kernel or its machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The mechanism, or the scenario.
    pub what: String,
    /// Why.
    pub why: String,
    /// How many rows that is.
    pub rows: usize,
}

/// What became of the rows of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The kernel's name in the lab.
    pub kernel: String,
    /// `uname -r` inside.
    pub release: String,
    /// How the machine ran.
    pub accelerator: String,
    /// When, in UTC.
    pub at: String,
    /// The command in the machine.
    pub command: String,
    /// Rows with at least one trial.
    pub ran: usize,
    /// Those of which every trial was as expected.
    pub as_expected: usize,
    /// Rows that the time did not suffice for.
    pub left_out: usize,
    /// Rows of which nothing is expected on any kernel: the mechanism says nothing of the scenario.
    pub not_applicable: usize,
    /// What is missing here, with its rows.
    pub missing: Vec<Missing>,
    /// What was not as expected.
    pub differing: Vec<Differs>,
    /// Rows that the list has and that were as expected.
    pub healed: Vec<String>,
}

impl Outcome {
    /// Of a run that has not been judged yet.
    pub(super) fn begin(kernel: &str, run: &Run) -> Self {
        let (missing, not_applicable): (Vec<&Skip>, Vec<&Skip>) =
            run.skipped.iter().partition(|skip| skip.is_missing());
        let missing = missing.into_iter().map(|skip| Missing {
            what: match &skip.scenario {
                Some(scenario) => format!("{} on {scenario}", skip.mechanism),
                None => skip.mechanism.clone(),
            },
            why: skip.why.clone(),
            rows: skip.rows,
        });
        Self {
            schema: SCHEMA,
            kernel: kernel.to_owned(),
            release: String::new(),
            accelerator: String::new(),
            at: String::new(),
            command: String::new(),
            ran: run.rows.len() - run.left_out(),
            as_expected: 0,
            left_out: run.left_out(),
            not_applicable: not_applicable.iter().map(|skip| skip.rows).sum(),
            missing: missing.collect(),
            differing: Vec::new(),
            healed: Vec::new(),
        }
    }

    /// What differs and is not on the list.
    pub fn unknown(&self) -> impl Iterator<Item = &Differs> {
        self.differing.iter().filter(|row| row.why.is_none())
    }

    /// Whether the run was as the list says.
    #[must_use]
    pub fn is_as_known(&self) -> bool {
        self.unknown().next().is_none() && self.healed.is_empty()
    }

    /// How many rows are missing here.
    #[must_use]
    pub fn rows_missing(&self) -> usize {
        self.missing.iter().map(|missing| missing.rows).sum()
    }
}

/// Reads the results of all kernels below `dir`, by name.
///
/// # Errors
/// When one cannot be read.
pub fn read_all(dir: &Path) -> Result<Vec<Outcome>> {
    let mut results = Vec::new();
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list {}", dir.display()))?
            .path()
            .join("result.json");
        if path.is_file() {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let result: Outcome = serde_json::from_str(&text)
                .with_context(|| format!("cannot understand {}", path.display()))?;
            results.push(result);
        }
    }
    results.sort_by(|a, b| crate::deb::compare(&a.kernel, &b.kernel));
    Ok(results)
}

/// The table: a line for each kernel; below it what differs, and what is missing.
#[must_use]
pub fn table(results: &[Outcome]) -> String {
    let mut text = String::from(
        "# Every scenario with every mechanism, kernel by kernel\n\n\
         <!-- Written by `lab scenarios` -->\n\n\
         A row is a detector or a strategy on a scenario. \"Left out\" is what the time did not \
         suffice for, \"no statement\" what a mechanism says nothing of on any kernel.\n\n\
         | kernel | release | machine | ran | as expected | differing, known | differing, \
         unknown | left out | missing here | no statement |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for result in results {
        let unknown = result.unknown().count();
        let known = result.differing.len() - unknown;
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {known} | {unknown} | {} | {} | {} |",
            result.kernel,
            result.release,
            result.accelerator,
            result.ran,
            result.as_expected,
            result.left_out,
            result.rows_missing(),
            result.not_applicable,
        )
        .unwrap_or_default();
    }
    for result in results {
        write!(
            text,
            "\n## {}\n\n`{}`, {}.\n",
            result.kernel, result.command, result.at
        )
        .unwrap_or_default();
        part(&mut text, "Not as expected:", &result.differing, |row| {
            let why = row.why.as_deref().unwrap_or("**not known**");
            format!("{}: {}: {why}", row.row, row.how)
        });
        part(&mut text, "Missing here:", &result.missing, |missing| {
            format!("{} ({} rows): {}", missing.what, missing.rows, missing.why)
        });
    }
    text
}

fn part<T>(text: &mut String, title: &str, items: &[T], line: impl Fn(&T) -> String) {
    if !items.is_empty() {
        write!(text, "\n{title}\n\n").unwrap_or_default();
        for item in items {
            writeln!(text, "- {}", line(item)).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::tests::three;
    use super::*;

    #[test]
    fn results_come_back_and_every_row_is_in_one_column() {
        let dir = tempfile::tempdir().unwrap();
        let result = Outcome::of("stock-6.1", &three(), &[]);
        let place = dir.path().join("stock-6.1");
        fs::create_dir(&place).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        let json = serde_json::to_string(&result).unwrap();
        fs::write(place.join("result.json"), json).unwrap();
        let read = read_all(dir.path()).unwrap();
        assert_eq!(read, [result]);
        let text = table(&read);
        assert!(
            text.contains("| stock-6.1 |  |  | 2 | 1 | 0 | 1 | 1 | 2 | 1 |"),
            "{text}"
        );
        assert!(
            text.contains("- kill setsid k: not-ready: **not known**"),
            "{text}"
        );
        assert!(text.contains("- b (2 rows): ENOSYS"), "{text}");
    }
}
