//! The trials behind each row, a file for each dataset. The page loads one when a row is opened: a
//! script may be loaded by a page that is a file itself, other data may not.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Origin;
use crate::analysis::{Campaign, latency};
use crate::stats::CENSORED;

/// The path of the file of a dataset, beside the page.
pub fn path(dataset: &str) -> String {
    format!("trials/{dataset}.js")
}

/// The file: number, block, how it ended, and its latency in nanoseconds (null: none).
pub fn file(campaign: &Campaign<'_>) -> Result<String> {
    let mut outcomes: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for cell in &campaign.cells {
        let mut trials = Vec::new();
        let mut notes = BTreeMap::new();
        for trial in &cell.trials {
            let name = serde_json::to_value(trial.outcome)
                .ok()
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default();
            let outcome = outcomes.iter().position(|o| *o == name).unwrap_or_else(|| {
                outcomes.push(name);
                outcomes.len() - 1
            });
            let ns = latency(trial, campaign.dataset.deadline_ns()).filter(|ns| *ns < CENSORED);
            trials.push(json!([trial.seq, trial.block, outcome, ns]));
            if let Some(note) = trial.note.as_ref().filter(|_| !trial.held) {
                notes.insert(trial.seq.to_string(), note.to_string());
            }
        }
        rows.push(match notes.is_empty() {
            true => json!({"expected": cell.expected, "trials": trials}),
            false => json!({"expected": cell.expected, "trials": trials, "notes": notes}),
        });
    }
    let name = serde_json::to_string(&Value::from(campaign.dataset.name.clone()));
    let name = name.context("could not write the name of a dataset")?;
    let mut out = String::from("/*\n");
    for line in Origin::of(campaign).lines() {
        out.push_str(&line.replace("*/", "*\u{2060}/"));
        out.push('\n');
    }
    out.push_str(&format!("*/\nallgoneTrials({name}, {{\n\"outcomes\": "));
    let written = |value: &Value| {
        serde_json::to_string(value).context("could not write the trials of the page")
    };
    out.push_str(&written(&json!(outcomes))?);
    out.push_str(",\n\"rows\": [\n");
    // A line for each row, so that a change shows which row it is in.
    let lines: Vec<String> = rows.iter().map(written).collect::<Result<_>>()?;
    out.push_str(&lines.join(",\n"));
    out.push_str("\n]});\n");
    Ok(out)
}
