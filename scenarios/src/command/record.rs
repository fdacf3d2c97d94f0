//! `plan.json`: the plan of a run in a form that can be read back by another program.

use std::collections::BTreeMap;

use anyhow::Context;
use harness::expect::Plane;
use serde::Serialize;

use super::measure::Shards;
use super::plan::{self, Plan};
use super::request::Request;
use super::skip::Skip;

/// Version of the format.
///
/// 2: `blocks` instead of one entry for each trial; rows have a twin; `campaign`.
const SCHEMA: u32 = 2;

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
    /// The shortest idle time before a trial; the record of a trial has its own.
    gap_ns: u64,
    /// The longest. Equal to the shortest if it is fixed.
    gap_longest_ns: u64,
    tasks: u64,
    memory_bytes: u64,
    /// What makes it a campaign; absent for a plain run.
    campaign: Option<Campaign>,
    rows: Vec<RowRecord<'a>>,
    /// The order of the trials: all trials of a block have its script seed. `seq` of a trial is its
    /// place in all blocks together.
    blocks: Vec<BlockRecord>,
    skipped: &'a [Skip],
}

#[derive(Debug, Serialize)]
struct RowRecord<'a> {
    plane: Plane,
    scenario: &'a str,
    detector: &'static str,
    /// In the kill plane: all detectors. They take turns, block by block; `detector` is the first.
    detectors: Vec<&'static str>,
    strategy: Option<&'static str>,
    params: BTreeMap<&'static str, u64>,
    twin: u32,
    label: &'a str,
    expected: String,
}

/// How a campaign is measured, for the plan.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Campaign {
    /// Unrecorded trials at the beginning of each sitting.
    pub warm_up: usize,
    /// How long the control spins before each block.
    pub noise_ns: u64,
    /// `closed`, `fixed` or `poisson`.
    pub arrivals: &'static str,
    /// Mean time between two intended starts, in an open loop.
    pub every_ns: Option<u64>,
    /// The processor of each role that was pinned.
    pub pins: BTreeMap<&'static str, usize>,
    /// The part of the blocks that is measured here; absent if it is all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<Shards>,
    /// Whether the kernel's tracepoints were listened to, which changes what is measured.
    pub trace: bool,
}

#[derive(Debug, Serialize)]
struct BlockRecord {
    script_seed: u64,
    rows: Vec<usize>,
}

impl<'a> PlanRecord<'a> {
    /// Of a plan.
    pub(super) fn new(
        run: &'a str,
        arguments: Vec<String>,
        request: &Request,
        plan: &'a Plan,
        campaign: Option<Campaign>,
    ) -> Self {
        let ns = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Self {
            schema: SCHEMA,
            run,
            program: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            arguments,
            seed: plan.seed,
            trials_per_row: request.trials,
            deadline_ns: ns(request.deadline),
            gap_ns: ns(request.gap.shortest),
            gap_longest_ns: ns(request.gap.longest),
            tasks: request.limits.tasks,
            memory_bytes: request.limits.memory_bytes,
            campaign,
            rows: plan
                .cells
                .iter()
                .map(|cell| RowRecord {
                    plane: cell.key.plane,
                    scenario: cell.subject.id(),
                    detector: cell.watchers[0].spec().id,
                    detectors: cell.watchers.iter().map(|d| d.spec().id).collect(),
                    strategy: cell.strategy.map(|s| s.spec().id),
                    params: cell.params.iter().collect(),
                    twin: cell.twin,
                    label: &cell.key.scenario,
                    expected: plan::expected_in_words(cell.expected),
                })
                .collect(),
            blocks: plan
                .order
                .chunk_by(|a, b| a.block == b.block)
                .map(|block| BlockRecord {
                    script_seed: block[0].script_seed,
                    rows: block.iter().map(|trial| trial.row).collect(),
                })
                .collect(),
            skipped: &plan.skipped,
        }
    }

    /// As text.
    pub(super) fn to_json(&self) -> anyhow::Result<String> {
        let mut text =
            serde_json::to_string_pretty(self).context("could not write the plan as JSON")?;
        text.push('\n');
        Ok(text)
    }
}

/// The arguments of this process, without its name.
pub(super) fn arguments() -> Vec<String> {
    std::env::args_os()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned())
        .collect()
}
