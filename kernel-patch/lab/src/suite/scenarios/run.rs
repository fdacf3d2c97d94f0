//! The records of one run, row by row. The lab links nothing of `scenario`, so it reads what that
//! has written: `plan.json` and `trials.jsonl`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// One row: a mechanism on a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `PLANE SCENARIO MECHANISM`, as the list of known rows has it.
    pub name: String,
    /// What was expected, in words.
    pub expected: String,
    /// Trials that were recorded.
    pub trials: usize,
    /// Those that were not as expected: how, which is the outcome or why the trial broke, and the
    /// first one's note.
    pub differs: BTreeMap<String, String>,
}

/// What a run left out before it began.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Skip {
    /// The detector or strategy.
    pub mechanism: String,
    /// The scenario; absent if the mechanism cannot be run at all.
    pub scenario: Option<String>,
    /// Why.
    pub why: String,
    /// What would change that; absent if nothing would.
    pub remedy: Option<String>,
    /// How many rows that is.
    pub rows: usize,
}

impl Skip {
    /// Whether the kernel or the machine lacks something. Otherwise the mechanism says nothing of
    /// that scenario, on any kernel.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.scenario.is_none() || self.remedy.is_some()
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its rows, in the order of the plan.
    pub rows: Vec<Row>,
    /// What it left out.
    pub skipped: Vec<Skip>,
    /// Whether it began no more trials because its time was up.
    pub over_budget: bool,
}

#[derive(Deserialize)]
struct Plan {
    rows: Vec<PlannedRow>,
    blocks: Vec<Block>,
    skipped: Vec<Skip>,
}

#[derive(Deserialize)]
struct PlannedRow {
    plane: String,
    label: String,
    detector: String,
    strategy: Option<String>,
    expected: String,
}

#[derive(Deserialize)]
struct Block {
    rows: Vec<usize>,
}

#[derive(Deserialize)]
struct Trial {
    seq: usize,
    outcome: String,
    held: bool,
    cause: Option<String>,
    note: Option<Value>,
}

impl Run {
    /// Reads the directory that `scenario --out` has filled.
    ///
    /// # Errors
    /// When a file is missing or is not what `scenario` writes.
    pub fn read(dir: &Path) -> Result<Self> {
        let file = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let over_budget = file("summary.txt")?.contains("Stopped by the budget");
        Self::parse(&file("plan.json")?, &file("trials.jsonl")?, over_budget)
    }

    fn parse(plan: &str, trials: &str, over_budget: bool) -> Result<Self> {
        let plan: Plan = serde_json::from_str(plan).context("cannot understand plan.json")?;
        let order: Vec<usize> = plan.blocks.into_iter().flat_map(|b| b.rows).collect();
        let mut rows: Vec<Row> = plan.rows.into_iter().map(Row::planned).collect();
        for (index, line) in trials.lines().enumerate() {
            let place = || format!("cannot understand line {} of trials.jsonl", index + 1);
            let trial: Trial = serde_json::from_str(line).with_context(place)?;
            let row = order.get(trial.seq).and_then(|row| rows.get_mut(*row));
            row.context("a trial that was not planned")
                .with_context(place)?
                .add(trial);
        }
        ensure!(!rows.is_empty(), "plan.json has no rows");
        Ok(Self {
            rows,
            skipped: plan.skipped,
            over_budget,
        })
    }

    /// Rows without a trial.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.rows.iter().filter(|row| row.trials == 0).count()
    }
}

impl Row {
    fn planned(row: PlannedRow) -> Self {
        let mechanism = row.strategy.unwrap_or(row.detector);
        Self {
            name: format!("{} {} {mechanism}", row.plane, row.label),
            expected: row.expected,
            trials: 0,
            differs: BTreeMap::new(),
        }
    }

    fn add(&mut self, trial: Trial) {
        self.trials += 1;
        if !trial.held {
            // Of a broken trial nothing but the cause says what happened.
            let how = trial.cause.unwrap_or(trial.outcome);
            let note = trial.note.map(|note| match note {
                Value::String(text) => text,
                note => note.to_string(),
            });
            self.differs.entry(how).or_insert(note.unwrap_or_default());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plan of three rows, of which the third has no trial.
    pub(in super::super) fn three() -> Run {
        let plan = r#"{"schema": 2, "rows": [
            {"plane": "detect", "label": "setsid", "detector": "a", "strategy": null,
             "expected": "x", "twin": 0},
            {"plane": "kill", "label": "setsid", "detector": "a", "strategy": "k",
             "expected": "y", "twin": 0},
            {"plane": "kill", "label": "sleepers", "detector": "a", "strategy": "k",
             "expected": "z", "twin": 0}],
          "blocks": [{"script_seed": 1, "rows": [2, 0]}, {"script_seed": 2, "rows": [1]}],
          "skipped": [
            {"mechanism": "b", "scenario": null, "why": "ENOSYS", "remedy": "newer", "rows": 2},
            {"mechanism": "k", "scenario": "s", "why": "no group", "remedy": null, "rows": 1}]}"#;
        let trials = r#"{"schema":3,"seq":1,"outcome":"right","held":true,"cause":null,"note":null}
{"schema":3,"seq":2,"outcome":"broken","held":false,"cause":"not-ready","note":{"kind":"n"}}"#;
        Run::parse(plan, trials, true).unwrap()
    }

    #[test]
    fn a_trial_belongs_to_the_row_at_its_place_in_the_blocks() {
        let run = three();
        let told: Vec<_> = run
            .rows
            .iter()
            .map(|r| (r.name.as_str(), r.trials))
            .collect();
        let names = ["detect setsid a", "kill setsid k", "kill sleepers k"];
        assert_eq!(told, names.into_iter().zip([1, 1, 0]).collect::<Vec<_>>());
        assert!(run.rows[0].differs.is_empty());
        assert_eq!(run.rows[1].differs["not-ready"], r#"{"kind":"n"}"#);
        assert_eq!(run.left_out(), 1);
        let missing: Vec<_> = run.skipped.iter().map(Skip::is_missing).collect();
        assert_eq!(missing, [true, false]);
    }

    #[test]
    fn what_is_no_record_is_an_error_with_its_line() {
        let error = Run::parse("{}", "", false).unwrap_err();
        assert!(format!("{error:#}").contains("plan.json"), "{error:#}");
        let plan = r#"{"rows": [{"plane": "kill", "label": "s", "detector": "d", "strategy": null,
            "expected": ""}], "blocks": [{"rows": [0]}], "skipped": []}"#;
        let trial = r#"{"seq":7,"outcome":"right","held":true}"#;
        for (trials, why) in [("{}", "line 1"), (trial, "not planned")] {
            let error = format!("{:#}", Run::parse(plan, trials, false).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
