//! One configuration: SPIN writes a verifier, the compiler builds it, and it searches.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{ModelError, Row};
use crate::clock::now;
use crate::process;

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The whole state space was searched, and nothing violates the property.
    None,
    /// A counter-example: an assertion that does not hold, or a process that waits for ever.
    Found(String),
}

/// A search that ended.
#[derive(Debug)]
pub struct Checked {
    /// What it found.
    pub outcome: Outcome,
    /// States that were stored.
    pub states: u64,
    /// The longest path, in steps.
    pub depth: u64,
    /// Everything: SPIN, the compiler, and the search.
    pub took: Duration,
}

/// Where configurations are checked: the model, and a directory for what is made of it.
#[derive(Debug)]
pub struct Checker {
    model: PathBuf,
    work: PathBuf,
}

/// The model's main file.
const MAIN: &str = "events.pml";
/// The deepest path that `pan` follows; the longest there is has less than 400 steps.
const DEPTH: &str = "-m100000";
/// How much memory a search may take, in MB. One that needs more is incomplete, which is an error.
const MEMORY: &str = "-DMEMLIM=2000";

impl Checker {
    /// `model` has the Promela files, `work` is an empty directory.
    #[must_use]
    pub fn new(model: &Path, work: &Path) -> Self {
        Self {
            model: model.to_owned(),
            work: work.to_owned(),
        }
    }

    /// Checks one configuration.
    ///
    /// # Errors
    /// [`ModelError`] when a program fails or the search is not complete. A counter-example is a
    /// result.
    pub fn check(&self, row: &Row) -> Result<Checked, ModelError> {
        let begin = now();
        let dir = self.prepare(row)?;
        // The verifier has some 15 000 lines. To optimise them takes six times as long as to
        // compile them, and pays only where millions of states are searched.
        let optimise = if row.is_large() { "-O2" } else { "-O0" };
        process::output(
            Command::new("cc")
                .args([
                    optimise, "-w", "-DSAFETY", "-DNOFAIR", MEMORY, "-o", "pan", "pan.c",
                ])
                .args(row.shortest.then_some("-DBFS"))
                .current_dir(&dir),
        )?;
        let mut pan = Command::new("./pan");
        // An end in which a process waits is what a hang is; other rows ask for an assertion.
        pan.arg(DEPTH).args(row.ignores_hangs().then_some("-E"));
        let said = process::text(pan.current_dir(&dir))?;
        read(&said, now().saturating_sub(begin))
    }

    /// The steps of the outside world in the counter-example of a configuration that was checked,
    /// in order.
    ///
    /// # Errors
    /// [`ModelError`] when SPIN fails.
    pub fn steps(&self, row: &Row) -> Result<Vec<String>, ModelError> {
        let said = process::text(
            Command::new("spin")
                .arg("-t")
                .args(row.switches())
                .arg(MAIN)
                .current_dir(self.dir(row)),
        )?;
        Ok(said
            .lines()
            .map(str::trim)
            .filter(|line| {
                ["job ", "watcher ", "owner "]
                    .iter()
                    .any(|w| line.starts_with(w))
            })
            .map(str::to_owned)
            .collect())
    }

    /// The counter-example with each statement, the model's line and what it changes.
    ///
    /// # Errors
    /// [`ModelError`] when SPIN fails.
    pub fn trail(&self, row: &Row) -> Result<String, ModelError> {
        Ok(process::text(
            Command::new("spin")
                .args(["-t", "-p", "-g"])
                .args(row.switches())
                .arg(MAIN)
                .current_dir(self.dir(row)),
        )?)
    }

    fn dir(&self, row: &Row) -> PathBuf {
        self.work.join(row.name)
    }

    /// A directory with the model and the verifier's source.
    fn prepare(&self, row: &Row) -> Result<PathBuf, ModelError> {
        let dir = self.dir(row);
        let copy = |path: &Path, cause| ModelError::Copy {
            path: path.to_owned(),
            cause,
        };
        std::fs::create_dir_all(&dir).map_err(|cause| copy(&dir, cause))?;
        let files = std::fs::read_dir(&self.model).map_err(|cause| copy(&self.model, cause))?;
        for file in files {
            let file = file.map_err(|cause| copy(&self.model, cause))?.path();
            if file.extension().is_some_and(|e| e == "pml") {
                let to = dir.join(file.file_name().unwrap_or_default());
                std::fs::copy(&file, to).map_err(|cause| copy(&file, cause))?;
            }
        }
        let said = process::text(
            Command::new("spin")
                .arg("-a")
                .args(row.switches())
                .arg(MAIN)
                .current_dir(&dir),
        )?;
        // SPIN ends with success after some errors.
        if said.contains("Error") || said.contains("warning") {
            return Err(ModelError::Refused {
                switches: row.switches().join(" "),
                said,
            });
        }
        Ok(dir)
    }
}

/// Reads what `pan` has printed.
fn read(said: &str, took: Duration) -> Result<Checked, ModelError> {
    let incomplete = |why: &str| ModelError::Incomplete {
        why: why.to_owned(),
    };
    let number = |before: &str, after: &str| -> Option<u64> {
        said.lines()
            .filter_map(|line| line.split_once(before)?.1.split_once(after))
            .find_map(|(word, _)| word.trim().parse().ok())
    };
    let errors = said
        .lines()
        .find_map(|line| line.split_once("errors: ")?.1.trim().parse::<u64>().ok())
        .ok_or_else(|| incomplete(&process::tail(said, 5)))?;
    let finding = said
        .lines()
        .find_map(|line| line.strip_prefix("pan:1: "))
        .map(|line| line.split(" (at depth").next().unwrap_or(line).to_owned());
    let outcome = match (errors, finding) {
        (1.., Some(finding)) => Outcome::Found(finding),
        (0, None) => {
            if let Some(line) = said
                .lines()
                .find(|l| l.contains("not completed") || l.contains("too small"))
            {
                return Err(incomplete(line));
            }
            Outcome::None
        }
        _ => return Err(incomplete(&process::tail(said, 5))),
    };
    Ok(Checked {
        outcome,
        states: said
            .lines()
            .find_map(|line| line.strip_suffix(" states, stored")?.trim().parse().ok())
            .ok_or_else(|| incomplete("it does not say how many states there are"))?,
        depth: number("depth reached ", ",").ok_or_else(|| incomplete("it names no depth"))?,
        took,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = "Full statespace search for:\nState-vector 100 byte, depth reached 207, \
                           errors: 0\n   251200 states, stored\n   99 states, matched\n";

    #[test]
    fn a_complete_search_without_errors_has_found_nothing() {
        let checked = read(NOTHING, Duration::ZERO).unwrap();
        assert_eq!(checked.outcome, Outcome::None);
        assert_eq!((checked.states, checked.depth), (251_200, 207));
    }

    #[test]
    fn an_assertion_and_a_hang_are_found() {
        for what in ["assertion violated file", "invalid end state"] {
            let said = format!("pan:1: {what} (at depth 3)\n{NOTHING}");
            let said = said.replace("errors: 0", "errors: 1");
            let checked = read(&said, Duration::ZERO).unwrap();
            assert_eq!(checked.outcome, Outcome::Found(what.to_owned()));
        }
    }

    #[test]
    fn a_search_that_did_not_end_is_an_error_and_not_nothing() {
        for said in [
            format!("error: max search depth too small\n{NOTHING}"),
            format!("Warning: Search not completed\n{NOTHING}"),
            "pan: out of memory\n".to_owned(),
            NOTHING.replace("errors: 0", "errors: 1"),
        ] {
            let error = read(&said, Duration::ZERO).unwrap_err();
            assert!(matches!(error, ModelError::Incomplete { .. }), "{said}");
        }
    }
}
