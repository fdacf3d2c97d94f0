//! The end of a run: the summary as text or as one JSON document.

use std::collections::BTreeMap;
use std::path::Path;

use harness::expect::{Canary, Plane};
use harness::record::Outcome;
use serde::Serialize;

use super::exit::Exit;
use super::lines::{self, Line, wrapped};
use super::skip::Skip;
use super::stats::Sample;
use super::summary::{Broken, RESOLUTION_NS, Row, RowKey, STAGES};
use super::{answer, costs, scale, stages, table, verdict};

/// The content of a run's summary.
#[derive(Debug)]
pub(super) struct Report<'a> {
    /// Name of the run.
    pub run: &'a str,
    /// Whether the machine's times are an emulator's.
    pub emulated: bool,
    /// Where the trials are recorded.
    pub out: &'a Path,
    /// Seed.
    pub seed: u64,
    /// Trials planned.
    pub planned: usize,
    /// Sums, row by row.
    pub rows: &'a [Row],
    /// How the run ended, if not at the end of its plan.
    pub ended: &'static str,
    /// What was not run.
    pub skipped: &'a [Skip],
    /// For a campaign: noise of the machine, lateness of an open loop.
    pub notes: &'a [String],
    /// What was left behind, if anything.
    pub leaks: &'a [String],
    /// The exit code.
    pub exit: Exit,
}

/// Below the title of every table of an emulated machine.
pub(super) const EMULATED: &str =
    "Emulated: order, counts and ratios within this run mean something, its times do not.";

/// Everything, for people: the answer, and all rows.
pub(super) fn text(report: &Report<'_>, colour: bool) -> String {
    let mut lines = answer::head(report);
    let verdicts = [
        verdict::detect(report.rows),
        verdict::kill(report.rows),
        stages::in_words(report.rows),
    ];
    let growth = scale::growth(report.rows);
    let words = verdicts
        .into_iter()
        .flatten()
        .chain(scale::in_words(&growth));
    for paragraph in words.chain(report.notes.iter().cloned()) {
        lines.extend(wrapped("", &paragraph, 2).into_iter().map(Line::plain));
    }
    lines.push(Line::plain(""));
    for (plane, title) in [
        (
            Plane::Detect,
            "Detectors: which of them knows when the last process is gone?\n\
                (p50: from its end to the verdict)",
        ),
        (
            Plane::Kill,
            "Strategies: which of them leaves nothing alive, and hits nothing else?\n\
                (p50: from the decision to kill to \"empty\")",
        ),
    ] {
        if let Some(table) = table::of_plane(report.rows, plane) {
            let emulated = report.emulated.then_some(EMULATED);
            push_table(&mut lines, [Some(title), emulated], &table);
        }
    }
    for (title, table) in [
        (costs::TITLE, costs::table(report.rows)),
        (stages::KNOWING, stages::knowing(report.rows)),
        (stages::STAGES_TITLE, stages::stages(report.rows)),
        (scale::TITLE, scale::table(&growth)),
    ] {
        if let Some(table) = table {
            push_table(&mut lines, [Some(title), None], &table);
        }
    }
    let mut text = lines::text(&lines, colour);
    skipped(&mut text, report.skipped);
    text
}

/// The stages of all kills, if they are asked for beside the short answer.
pub(super) fn stages_text(report: &Report<'_>) -> String {
    let mut lines = Vec::new();
    if let Some(table) = stages::stages(report.rows) {
        lines.push(Line::plain(""));
        push_table(&mut lines, [Some(stages::STAGES_TITLE), None], &table);
    }
    lines::text(&lines, false)
}

/// Adds a table; a row with a failure becomes a line that reports one.
pub(super) fn push_table(
    lines: &mut Vec<Line>,
    titles: [Option<&str>; 2],
    table: &comfy_table::Table,
) {
    lines.extend(
        titles
            .iter()
            .flatten()
            .flat_map(|title| title.lines())
            .map(Line::plain),
    );
    let text = table.trim_fmt();
    lines.extend(text.lines().map(|line| match line.contains(table::FAILED) {
        true => Line::failed(line),
        false => Line::plain(line),
    }));
    lines.push(Line::plain(""));
}

pub(super) fn skipped(text: &mut String, skipped: &[Skip]) {
    let missing: Vec<&Skip> = skipped
        .iter()
        .filter(|skip| skip.scenario.is_none())
        .collect();
    if !missing.is_empty() {
        push(text, "Not available here:");
        for skip in missing {
            let remedy = skip
                .remedy
                .as_deref()
                .map(|r| format!("; {r}"))
                .unwrap_or_default();
            push(text, &format!("  {}: {}{remedy}", skip.mechanism, skip.why));
        }
        push(text, "");
    }
    let mut pairs: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for skip in skipped {
        if let Some(scenario) = &skip.scenario {
            pairs
                .entry((&skip.mechanism, &skip.why))
                .or_default()
                .push(scenario);
        }
    }
    if !pairs.is_empty() {
        push(text, "Not applicable:");
        for ((mechanism, why), scenarios) in pairs {
            push(
                text,
                &format!("  {mechanism} on {}: {why}", scenarios.join(", ")),
            );
        }
        push(text, "");
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// For programs.
pub(super) fn json(report: &Report<'_>) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&Document {
        schema: 3,
        run: report.run,
        emulated: report.emulated,
        out: report.out,
        seed: report.seed,
        planned: report.planned,
        exit: report.exit.code(),
        exit_meaning: report.exit.meaning(),
        rows: report.rows.iter().map(RowDocument::new).collect(),
        scale: scale::growth(report.rows),
        skipped: report.skipped,
        verdict_detect: verdict::detect(report.rows),
        verdict_kill: verdict::kill(report.rows),
        notes: report.notes,
        leaks: report.leaks,
    })?;
    text.push('\n');
    Ok(text)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    run: &'a str,
    emulated: bool,
    out: &'a Path,
    seed: u64,
    planned: usize,
    exit: u8,
    exit_meaning: &'a str,
    rows: Vec<RowDocument<'a>>,
    scale: Vec<scale::Growth>,
    skipped: &'a [Skip],
    verdict_detect: Option<String>,
    verdict_kill: Option<String>,
    notes: &'a [String],
    leaks: &'a [String],
}

#[derive(Serialize)]
struct RowDocument<'a> {
    #[serde(rename = "row")]
    key: &'a RowKey,
    expected: &'a str,
    trials: usize,
    held: usize,
    outcomes: &'a BTreeMap<Outcome, usize>,
    /// Detect plane: end of the workload to verdict. Kill plane: decision to kill to `populated 0`.
    latency: SampleDocument,
    /// Of a program, whose end is only known to lie in an interval: bounds of the latency's median.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p50_between_ns: Option<(u64, u64)>,
    wakeups_p50: Option<u64>,
    cpu_p50_ns: Option<u64>,
    /// From asking for the workload to its own first stamp.
    launch: SampleDocument,
    fell_back: usize,
    idle_cpu_per_s_p50_ns: Option<u64>,
    idle_wakeups_p50: Option<u64>,
    kill: Option<KillDocument<'a>>,
    broken: &'a [Broken],
}

#[derive(Serialize)]
struct SampleDocument {
    n: usize,
    censored: usize,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    max_ns: Option<u64>,
}

#[derive(Serialize)]
struct KillDocument<'a> {
    survivors_max: usize,
    survivor_reasons: &'a BTreeMap<String, usize>,
    canaries_hit: &'a BTreeMap<Canary, usize>,
    fallbacks: &'a BTreeMap<&'static str, usize>,
    signals_p50: Option<u64>,
    passes_p50: Option<u64>,
    /// From the decision to the first signal.
    holding: SampleDocument,
    /// From the first signal to `populated 0`.
    dying: SampleDocument,
    /// By detector: from `populated 0` to its verdict, with a resolution of `resolution_ns`.
    knowing: BTreeMap<&'a str, SampleDocument>,
    /// By detector: in how many trials it knew it more than a millisecond late.
    knowing_late: BTreeMap<&'a str, usize>,
    resolution_ns: u64,
    /// From the decision to each stage.
    stages: BTreeMap<&'static str, SampleDocument>,
}

impl<'a> RowDocument<'a> {
    fn new(row: &'a Row) -> Self {
        Self {
            key: &row.key,
            expected: &row.expected,
            trials: row.n,
            held: row.held,
            outcomes: &row.outcomes,
            latency: SampleDocument::new(&row.latency),
            latency_p50_between_ns: row
                .between
                .least
                .percentile(50)
                .value()
                .zip(row.between.most.percentile(50).value()),
            wakeups_p50: row.wakeups.percentile(50).value(),
            cpu_p50_ns: row.cpu.percentile(50).value(),
            launch: SampleDocument::new(&row.costs.launch),
            fell_back: row.costs.fell_back,
            idle_cpu_per_s_p50_ns: row.costs.idle_cpu_per_s.percentile(50).value(),
            idle_wakeups_p50: row.costs.idle_wakeups.percentile(50).value(),
            kill: (row.key.plane == Plane::Kill).then(|| KillDocument {
                survivors_max: row.kill.survivors_max,
                survivor_reasons: &row.kill.reasons,
                canaries_hit: &row.kill.canaries,
                fallbacks: &row.kill.fallbacks,
                signals_p50: row.kill.signals.percentile(50).value(),
                passes_p50: row.kill.passes.percentile(50).value(),
                holding: SampleDocument::new(&row.kill.holding),
                dying: SampleDocument::new(&row.kill.dying),
                knowing_late: row
                    .kill
                    .knowing
                    .iter()
                    .map(|(id, sample)| (id.as_str(), sample.later_than(stages::LATE_NS)))
                    .collect(),
                resolution_ns: RESOLUTION_NS,
                knowing: row
                    .kill
                    .knowing
                    .iter()
                    .map(|(id, sample)| (id.as_str(), SampleDocument::new(sample)))
                    .collect(),
                stages: STAGES
                    .iter()
                    .zip(&row.kill.stages)
                    .map(|((name, _), sample)| (*name, SampleDocument::new(sample)))
                    .collect(),
            }),
            broken: &row.broken,
        }
    }
}

impl SampleDocument {
    fn new(sample: &Sample) -> Self {
        let at = |percent| sample.percentile(percent).value();
        Self {
            n: sample.len(),
            censored: sample.censored(),
            p50_ns: at(50),
            p90_ns: at(90),
            p99_ns: (sample.len() >= table::ENOUGH_FOR_P99)
                .then(|| at(99))
                .flatten(),
            max_ns: sample.max().value(),
        }
    }
}

/// The plan for people: what `--dry-run` prints.
pub(super) fn plan_text(plan: &super::plan::Plan) -> String {
    let mut table = table::plain(&["plane", "scenario", "mechanism", "expected"]);
    for cell in &plan.cells {
        let plane = match cell.key.plane {
            Plane::Detect => "detect",
            Plane::Kill => "kill",
        };
        table.add_row([
            plane,
            &cell.key.scenario,
            &cell.key.mechanism,
            &super::plan::expected_in_words(cell.expected),
        ]);
    }
    let mut text = format!("{}\n\n", table.trim_fmt());
    skipped(&mut text, &plan.skipped);
    let trials = plan.order.len();
    text.push_str(&format!(
        "{} rows, {trials} trials in blocks of random order, seed {}.\n",
        plan.cells.len(),
        plan.seed
    ));
    text
}
