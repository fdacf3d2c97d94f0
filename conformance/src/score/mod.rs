//! Verdicts, and what they are compared with.

mod baseline;
pub mod known;
mod report;
pub mod steady;

use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::promises::{Judged, Promise};
use crate::run::{Outcome, Played};

pub use baseline::{Regression, regressions};
pub use report::{SCHEMA, Scores};

/// The verdict on one promise at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Claimed, and kept in every trial.
    Kept,
    /// Claimed, and not kept in every trial.
    Broken,
    /// Claimed, and not known.
    Unknown,
    /// Not claimed. Whether it was kept all the same is in the counts.
    NotClaimed,
    /// Not played, for want of something.
    Skipped,
}

impl Verdict {
    /// What follows from the claim and from how many trials kept it, did not, and say nothing.
    pub fn of(claimed: bool, kept: usize, broken: usize, unknown: usize) -> Self {
        match (claimed, broken, unknown, kept) {
            (_, 0, 0, 0) => Self::Skipped,
            (false, ..) => Self::NotClaimed,
            (true, 1.., ..) => Self::Broken,
            (true, 0, 1.., _) => Self::Unknown,
            (true, 0, 0, _) => Self::Kept,
        }
    }

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::NotClaimed => "not claimed",
            Self::Skipped => "skipped",
        }
    }
}

/// One promise at one level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The promise.
    pub promise: String,
    /// The level.
    pub level: u8,
    /// The verdict.
    pub verdict: Verdict,
    /// Trials in which it was kept.
    pub kept: usize,
    /// Trials in which it was not.
    pub broken: usize,
    /// Trials that say nothing.
    pub unknown: usize,
    /// The first trial that was not as wanted, or why it was not played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What plays that case again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
}

impl Cell {
    /// Trials that say something.
    pub fn judged(&self) -> usize {
        self.kept + self.broken
    }
}

/// A launcher with its score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Its adapter.
    pub launcher: String,
    /// What it is.
    pub about: String,
    /// What its documentation says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub says: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The load of the machine over a minute, when its first trial began and when its last was
    /// over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub load: String,
    /// How long its trials took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Why it was not played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Why it could not be played although nothing is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// Promises and levels.
    pub cells: Vec<Cell>,
    /// Every trial, as `case: verdict`.
    pub trials: Vec<Trial>,
}

/// A trial, for the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The case.
    pub case: String,
    /// `kept`, `broken`, `unknown` or `skipped`.
    pub judged: String,
    /// From the act, or from "ready", to the launcher's return, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned_us: Option<u64>,
    /// To the time when nothing lived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_us: Option<u64>,
    /// How the launcher returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// The score of what came of one launcher.
pub fn score(
    adapter: &Adapter,
    promises: &[&'static dyn Promise],
    outcome: &Outcome,
    options: &str,
) -> Score {
    let mut score = Score {
        launcher: adapter.id.clone(),
        about: adapter.about.clone(),
        says: adapter.says.clone(),
        version: String::new(),
        load: String::new(),
        took_ms: None,
        skipped: None,
        unusable: None,
        cells: Vec::new(),
        trials: Vec::new(),
    };
    match outcome {
        Outcome::Skipped(why) => score.skipped = Some(why.clone()),
        Outcome::Unusable(why) => score.unusable = Some(why.clone()),
        Outcome::Played { version, trials } => {
            score.version.clone_from(version);
            for promise in promises {
                of_promise(adapter, *promise, trials, options, &mut score);
            }
        }
    }
    score
}

fn of_promise(
    adapter: &Adapter,
    promise: &'static dyn Promise,
    trials: &[Played],
    options: &str,
    score: &mut Score,
) {
    if let Some(lacks) = promise.lacks(adapter) {
        score.cells.push(Cell {
            promise: promise.id().to_owned(),
            level: 0,
            verdict: Verdict::NotClaimed,
            kept: 0,
            broken: 0,
            unknown: 0,
            why: Some(lacks.to_owned()),
            again: None,
        });
        return;
    }
    let own = || trials.iter().filter(|t| t.promise.id() == promise.id());
    for level in 0..=crate::adapter::HIGHEST {
        let at: Vec<&Played> = own().filter(|t| t.case.level == level).collect();
        if at.is_empty() {
            continue;
        }
        let pairs: Vec<_> = at.iter().map(|t| (&t.case, &t.seen)).collect();
        let judged = promise.judge_all(&pairs, adapter);
        let claimed = adapter.claims.has(promise.id(), level);
        score.cells.push(cell(
            adapter, promise, level, claimed, &at, &judged, options,
        ));
        let rows = at.iter().zip(&judged);
        score.trials.extend(rows.map(|(played, judged)| Trial {
            case: played.case.id.clone(),
            judged: word(judged).to_owned(),
            returned_us: played.seen.returned.map(|returned| returned.after_us),
            idle_us: played.seen.idle_us,
            status: played.seen.returned.map(|returned| returned.to_string()),
        }));
    }
}

fn word(judged: &Judged) -> &'static str {
    match judged {
        Judged::Kept => "kept",
        Judged::Broken(_) => "broken",
        Judged::Skipped(_) => "skipped",
        Judged::Unknown(_) => "unknown",
    }
}

fn cell(
    adapter: &Adapter,
    promise: &'static dyn Promise,
    level: u8,
    claimed: bool,
    at: &[&Played],
    judged: &[Judged],
    options: &str,
) -> Cell {
    let count = |which: &str| judged.iter().filter(|j| word(j) == which).count();
    let (kept, broken, unknown) = (count("kept"), count("broken"), count("unknown"));
    // The worst first: what is broken says more than what is not known.
    let worst = ["broken", "unknown", "skipped"].iter().find_map(|which| {
        let mut rows = at.iter().zip(judged);
        rows.find(|(_, j)| word(j) == *which)
    });
    let why = worst.map(|(played, judged)| match judged {
        Judged::Broken(why) | Judged::Unknown(why) | Judged::Skipped(why) => {
            format!("{}: {why}", played.case.id)
        }
        Judged::Kept => String::new(),
    });
    Cell {
        promise: promise.id().to_owned(),
        level,
        verdict: Verdict::of(claimed, kept, broken, unknown),
        kept,
        broken,
        unknown,
        again: worst
            .filter(|(_, judged)| !matches!(judged, Judged::Skipped(_)))
            .map(|(played, _)| {
                format!(
                    "allgone-conform {} --case {}{options}",
                    adapter.named, played.case.id
                )
            }),
        why,
    }
}

#[cfg(test)]
mod tests;
