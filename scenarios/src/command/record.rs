//! `plan.json`: the plan of a run in a form that can be read back by another program.

use std::collections::BTreeMap;

use anyhow::Context;
use harness::expect::Plane;
use serde::Serialize;

use super::plan::{self, Plan, Skip};
use super::request::Request;

/// Version of the format.
const SCHEMA: u32 = 1;

/// A plan, ready to be written.
#[derive(Debug, Serialize)]
pub(super) struct PlanRecord<'a> {
    schema: u32,
    run: &'a str,
    program: &'static str,
    version: &'static str,
    arguments: Vec<String>,
    seed: u64,
    trials_per_row: u32,
    deadline_ns: u64,
    gap_ns: u64,
    tasks: u64,
    memory_bytes: u64,
    rows: Vec<RowRecord<'a>>,
    /// One entry for each trial, in order.
    order: Vec<TrialPlan>,
    skipped: &'a [Skip],
}

#[derive(Debug, Serialize)]
struct RowRecord<'a> {
    plane: Plane,
    scenario: &'static str,
    detector: &'static str,
    strategy: Option<&'static str>,
    params: BTreeMap<&'static str, u64>,
    label: &'a str,
    expected: String,
}

#[derive(Debug, Serialize)]
struct TrialPlan {
    row: usize,
    script_seed: u64,
}

impl<'a> PlanRecord<'a> {
    /// Of a plan.
    pub(super) fn new(run: &'a str, request: &Request, plan: &'a Plan) -> Self {
        let ns = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Self {
            schema: SCHEMA,
            run,
            program: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            arguments: std::env::args_os()
                .skip(1)
                .map(|a| a.to_string_lossy().into_owned())
                .collect(),
            seed: plan.seed,
            trials_per_row: request.trials,
            deadline_ns: ns(request.deadline),
            gap_ns: ns(request.gap),
            tasks: request.limits.tasks,
            memory_bytes: request.limits.memory_bytes,
            rows: plan
                .cells
                .iter()
                .map(|cell| RowRecord {
                    plane: cell.key.plane,
                    scenario: cell.scenario.spec().id,
                    detector: cell.detector.spec().id,
                    strategy: cell.strategy.map(|s| s.spec().id),
                    params: cell.params.iter().collect(),
                    label: &cell.key.scenario,
                    expected: plan::expected_in_words(cell.expected),
                })
                .collect(),
            order: plan
                .order
                .iter()
                .map(|(row, script_seed)| TrialPlan {
                    row: *row,
                    script_seed: *script_seed,
                })
                .collect(),
            skipped: &plan.skipped,
        }
    }

    /// As text.
    pub(super) fn to_json(&self) -> anyhow::Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("could not write the plan as JSON")?;
        text.push('\n');
        Ok(text)
    }
}
