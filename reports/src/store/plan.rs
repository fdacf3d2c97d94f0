//! `plan.json`, as far as a report needs it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use harness_record::Plane;
use serde::{Deserialize, Serialize};

use crate::text;

/// The format of `plan.json` that this program reads.
const SCHEMA: u32 = 2;

/// The plan of a campaign.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Plan {
    /// Version of the format.
    pub schema: u32,
    /// Arguments of the command that made it.
    pub arguments: Vec<String>,
    /// Time after which a trial is over.
    #[serde(default)]
    pub deadline_ns: u64,
    /// The shortest idle time before a trial.
    #[serde(default)]
    pub gap_ns: u64,
    /// The longest. Absent in older plans, where all were alike.
    #[serde(default)]
    pub gap_longest_ns: Option<u64>,
    /// The limit.
    #[serde(default)]
    pub tasks: u64,
    /// Trials of each row.
    #[serde(default)]
    pub trials_per_row: u64,
    /// What only a campaign has.
    #[serde(default)]
    pub campaign: Option<CampaignPlan>,
    /// What was run.
    #[serde(default)]
    pub rows: Vec<PlanRow>,
    /// The order of the trials.
    #[serde(default)]
    pub blocks: Vec<Block>,
    /// Many sites: the order of the loops.
    #[serde(default)]
    pub loops: Vec<Loop>,
    /// Many sites: jobs that end in each loop.
    #[serde(default)]
    pub jobs: u32,
    /// What this machine could not run, and why.
    #[serde(default)]
    pub skipped: Vec<Skip>,
}

/// How a campaign was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CampaignPlan {
    /// The part of the blocks that was measured; absent if that is all of them.
    #[serde(default)]
    pub shards: Option<Shards>,
}

/// Parts of a campaign: every `of`-th block, from each of these numbers on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// How many parts there are.
    pub of: usize,
    /// Which of them these are, from 1.
    pub numbers: BTreeSet<usize>,
}

/// A row of a plan.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PlanRow {
    /// Detect or kill.
    pub plane: Plane,
    /// Scenario id.
    pub scenario: String,
    /// Detector id; in the kill plane the first of them.
    pub detector: String,
    /// All detectors; they take turns, block by block.
    #[serde(default)]
    pub detectors: Vec<String>,
    /// Strategy id.
    pub strategy: Option<String>,
    /// Values of all axes.
    pub params: BTreeMap<String, u64>,
    /// Which of several alike.
    #[serde(default)]
    pub twin: u32,
    /// Scenario and the axes that were set or that vary.
    pub label: String,
    /// What was expected, in words.
    #[serde(default)]
    pub expected: String,
}

/// Trials that belong together: each row once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Block {
    /// Numbers of the rows, in the order in which they were run.
    pub rows: Vec<usize>,
    /// Seed of the script that all of them play.
    pub script_seed: u64,
}

/// One loop that watches many sites.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Loop {
    /// Mechanism id.
    pub mechanism: String,
    /// How many sites.
    pub sites: u64,
}

/// A mechanism that this machine does not offer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Skip {
    /// Its id.
    pub mechanism: String,
    /// Why.
    pub why: String,
}

impl Shards {
    /// Whether a block, from 0, belongs to them.
    pub fn has(&self, block: usize) -> bool {
        block
            .checked_rem(self.of)
            .is_some_and(|rest| self.numbers.contains(&(rest + 1)))
    }
}

impl Plan {
    /// Reads one.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let plan: Self = serde_json::from_slice(text)?;
        ensure!(
            plan.schema <= SCHEMA,
            "it has schema {}; this program reads up to {SCHEMA}",
            plan.schema
        );
        Ok(plan)
    }

    /// The parts of the campaign that were measured; nothing if that is all of it.
    pub fn shards(&self) -> Option<&Shards> {
        self.campaign.as_ref()?.shards.as_ref()
    }

    /// The trials that were to be run, in order: number in the whole campaign, block, seed of the
    /// script, row.
    pub fn order(&self) -> impl Iterator<Item = (usize, usize, u64, usize)> {
        let blocks = self.blocks.iter().enumerate().flat_map(|(number, block)| {
            let rows = block.rows.iter();
            rows.map(move |row| (number, block.script_seed, *row))
        });
        let numbered = blocks.enumerate();
        let numbered = numbered.map(|(seq, (block, seed, row))| (seq, block, seed, row));
        numbered.filter(|(_, block, ..)| self.shards().is_none_or(|shards| shards.has(*block)))
    }

    /// Whether the idle time was drawn anew before each trial.
    pub fn gap_is_drawn(&self) -> bool {
        self.gap_longest_ns
            .is_some_and(|longest| longest > self.gap_ns)
    }

    /// The idle time before a trial, in words. A fixed one that is a whole number of ticks locks
    /// all trials to one phase of the timer.
    pub fn gap(&self, hz: Option<u32>) -> String {
        let tick_ns = hz
            .filter(|hz| *hz > 0)
            .map(|hz| 1_000_000_000 / u64::from(hz));
        match (self.gap_longest_ns, tick_ns) {
            (Some(longest), _) if longest > self.gap_ns => {
                format!(
                    "of {} to {}, drawn for each trial",
                    text::ns(self.gap_ns),
                    text::ns(longest)
                )
            }
            (_, Some(tick)) if self.gap_ns > 0 && self.gap_ns.is_multiple_of(tick) => format!(
                "of {}, always the same: {} ticks of the timer, so every trial starts at one phase \
                    of it",
                text::ns(self.gap_ns),
                self.gap_ns / tick
            ),
            _ => format!("of {}, always the same", text::ns(self.gap_ns)),
        }
    }

    /// The command that was given, without the place of its output.
    pub fn command(&self) -> String {
        let mut words = vec!["scenario".to_owned()];
        words.extend(self.arguments.iter().map(|word| quoted(word)));
        words.join(" ")
    }
}

/// A word of a command line as a shell would take it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,.:+/@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_given_again() {
        let plan = Plan {
            arguments: vec![
                "measure".into(),
                "forkbomb*".into(),
                "--set".into(),
                "a=1,2".into(),
            ],
            ..Plan::default()
        };
        assert_eq!(plan.command(), "scenario measure 'forkbomb*' --set a=1,2");
    }

    #[test]
    fn a_gap_in_phase_with_the_tick_says_so() {
        let fixed = Plan {
            gap_ns: 20_000_000,
            ..Plan::default()
        };
        assert_eq!(
            fixed.gap(Some(250)),
            "of 20.0 ms, always the same: 5 ticks of the timer, so every trial starts at one phase \
                of it"
        );
        assert_eq!(fixed.gap(None), "of 20.0 ms, always the same");
        let drawn = Plan {
            gap_longest_ns: Some(30_000_000),
            ..fixed
        };
        assert_eq!(
            drawn.gap(Some(250)),
            "of 20.0 ms to 30.0 ms, drawn for each trial"
        );
    }

    #[test]
    fn a_newer_plan_is_refused() {
        let error = Plan::parse(br#"{"schema": 3, "arguments": []}"#).unwrap_err();
        assert!(error.to_string().contains("schema 3"), "{error}");
    }
}
