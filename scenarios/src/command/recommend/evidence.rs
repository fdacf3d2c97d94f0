//! The measured numbers: the committed summary of the evidence report, as far as a recommendation
//! needs it.
//!
//! Only the fields that are used are read. A missing field was not measured, and never counts as a
//! good figure.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use harness::expect::Plane;
use serde::{Deserialize, Serialize};

/// Newest version of the summary that this program understands. In 2 a kill's times start at the
/// decision.
const SCHEMA: u32 = 2;

/// The committed summary. `report` makes it, from recorded trials.
const COMMITTED: &str = include_str!("../../../../reports/generated/summary.json");

/// What was measured.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Evidence {
    schema: u32,
    #[serde(default)]
    datasets: Vec<Dataset>,
    #[serde(default)]
    rows: Vec<Row>,
    #[serde(default)]
    scale: Vec<Scale>,
}

/// A recorded campaign.
#[derive(Clone, Debug, Deserialize)]
struct Dataset {
    name: String,
    kernel: String,
    cpu: String,
}

/// All trials of one mechanism on one scenario at one point.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    dataset: String,
    plane: Plane,
    label: String,
    detector: String,
    strategy: Option<String>,
    n: usize,
    #[serde(default)]
    right: usize,
    #[serde(default)]
    early: usize,
    #[serde(default)]
    missed: usize,
    #[serde(default)]
    emptied: usize,
    #[serde(default)]
    survived: usize,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    launch_ns: Option<u64>,
    idle_cpu_ns: Option<u64>,
    #[serde(default)]
    canaries_hit: BTreeMap<String, usize>,
}

/// What watching many jobs costs.
#[derive(Clone, Debug, Deserialize)]
struct Scale {
    mechanism: String,
    sites: u64,
    medians: BTreeMap<String, u64>,
}

/// The evidence about one mechanism.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Measured {
    /// Trials, and in how many rows.
    pub trials: usize,
    /// Rows.
    pub rows: usize,
    /// The largest of the rows' medians: its slowest case. Absent if that lies beyond the deadline.
    pub worst_p50_ns: Option<u64>,
    /// The 99th percentile of that row, if it has one.
    pub p99_ns: Option<u64>,
    /// That row: scenario, parameters and dataset.
    pub worst: String,
    /// Trials of that row.
    pub worst_n: usize,
    /// The median of each row with a right answer; `null`: beyond the deadline. Rows of two
    /// mechanisms compare if they have the same name.
    pub p50_ns: BTreeMap<String, Option<u64>>,
    /// The largest of the rows' medians of the time that starting a workload takes.
    pub launch_ns: Option<u64>,
    /// CPU time for each second of waiting, where it was measured.
    pub idle_cpu_ns: Option<u64>,
    /// Trials with failures, with the row: early or missed, survivors, bystanders hit.
    pub against: Vec<String>,
    /// At the largest number of sites that was measured: that number, and the median of each
    /// quantity.
    pub scale: Option<(u64, BTreeMap<String, u64>)>,
}

impl Evidence {
    /// That of this repository.
    pub(super) fn committed() -> Result<Self> {
        Self::parse(COMMITTED).context(
            "the summary that was compiled into this program (reports/generated/summary.json)",
        )
    }

    /// Reads a summary.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let evidence: Self =
            serde_json::from_str(text).context("could not understand the summary")?;
        if evidence.schema > SCHEMA {
            bail!(
                "it has schema {}; this program reads up to {SCHEMA}",
                evidence.schema
            );
        }
        Ok(evidence)
    }

    /// The machine of the measurements, a line for each campaign.
    pub(super) fn places(&self) -> Vec<String> {
        let line = |d: &Dataset| format!("{}: Linux {}, {}", d.name, d.kernel, d.cpu);
        self.datasets.iter().map(line).collect()
    }

    /// What is known of a detector. `None`: it was not measured.
    pub(super) fn detector(&self, id: &str) -> Option<Measured> {
        let of = |row: &&Row| row.plane == Plane::Detect && row.detector == id;
        let mut measured = sum(self.rows.iter().filter(of))?;
        let sizes = self.scale.iter().filter(|scale| scale.mechanism == id);
        measured.scale = sizes
            .max_by_key(|s| s.sites)
            .map(|s| (s.sites, s.medians.clone()));
        Some(measured)
    }

    /// What is known of a strategy. `None`: it was not measured.
    pub(super) fn strategy(&self, id: &str) -> Option<Measured> {
        sum(self
            .rows
            .iter()
            .filter(|row| row.strategy.as_deref() == Some(id)))
    }
}

impl Row {
    fn name(&self) -> String {
        format!("{} ({})", self.label, self.dataset)
    }
}

fn sum<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<Measured> {
    let rows: Vec<&Row> = rows.filter(|row| row.n > 0).collect();
    // Without a right answer or an empty cgroup there is no time; with one, a missing median lies
    // beyond the deadline.
    let timed = || rows.iter().filter(|row| row.right + row.emptied > 0);
    let worst = timed().max_by_key(|row| (row.p50_ns.is_none(), row.p50_ns))?;
    Some(Measured {
        trials: rows.iter().map(|row| row.n).sum(),
        rows: rows.len(),
        worst_p50_ns: worst.p50_ns,
        p99_ns: worst.p99_ns,
        worst: worst.name(),
        worst_n: worst.n,
        p50_ns: timed().map(|row| (row.name(), row.p50_ns)).collect(),
        launch_ns: rows.iter().filter_map(|row| row.launch_ns).max(),
        idle_cpu_ns: rows.iter().filter_map(|row| row.idle_cpu_ns).max(),
        against: rows.iter().filter_map(|row| against(row)).collect(),
        scale: None,
    })
}

fn against(row: &Row) -> Option<String> {
    let hit: usize = row.canaries_hit.values().sum();
    let said: Vec<String> = [
        (row.early, "too early"),
        (row.missed, "silent until the deadline"),
        (row.survived, "left something alive"),
        (hit, "hit a bystander"),
    ]
    .into_iter()
    .filter(|(times, _)| *times > 0)
    .map(|(times, what)| format!("{what} in {times} of {} trials", row.n))
    .collect();
    (!said.is_empty()).then(|| format!("{} on {}", said.join(", "), row.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"schema":1,"command":"x","unknown":[],"datasets":[{"name":"d","kernel":"6.18","hz":250,"cpu":"c"}],
        "rows":[
        {"dataset":"d","plane":"detect","label":"a","detector":"fast","strategy":null,"n":200,"right":200,"p50_ns":10,"p99_ns":20,
         "launch_ns":7,"idle_cpu_ns":null},
        {"dataset":"d","plane":"detect","label":"b","detector":"fast","strategy":null,"n":100,"right":99,"missed":1,"p50_ns":30,
         "p99_ns":null,"launch_ns":5,"idle_cpu_ns":3},
        {"dataset":"d","plane":"kill","label":"k","detector":"fast","strategy":"s","n":10,"emptied":4,"survived":6,"p50_ns":null,
         "p99_ns":null,"launch_ns":null,"idle_cpu_ns":null,"canaries_hit":{"same-group":2}}],
        "scale":[{"dataset":"d","mechanism":"fast","sites":10,"n":3,"medians":{"cpu_ns":1}},
                 {"dataset":"d","mechanism":"fast","sites":1000,"n":3,"medians":{"cpu_ns":9}}]}"#;

    #[test]
    fn the_worst_row_counts_and_nothing_is_hidden() {
        let evidence = Evidence::parse(TEXT).unwrap();
        let fast = evidence.detector("fast").unwrap();
        assert_eq!(
            (fast.trials, fast.rows, fast.worst_p50_ns),
            (300, 2, Some(30))
        );
        assert_eq!((fast.launch_ns, fast.idle_cpu_ns), (Some(7), Some(3)));
        assert_eq!(
            fast.against,
            ["silent until the deadline in 1 of 100 trials on b (d)"]
        );
        assert_eq!(fast.scale.unwrap().0, 1000);
        let strategy = evidence.strategy("s").unwrap();
        assert_eq!(strategy.worst_p50_ns, None);
        assert_eq!(
            strategy.against,
            ["left something alive in 6 of 10 trials, hit a bystander in 2 of 10 trials on k (d)"]
        );
        assert_eq!(evidence.places(), ["d: Linux 6.18, c"]);
    }

    #[test]
    fn what_is_absent_was_not_measured() {
        assert_eq!(Evidence::parse(TEXT).unwrap().detector("slow"), None);
        assert_eq!(
            Evidence::parse(r#"{"schema":1}"#).unwrap().strategy("s"),
            None
        );
        assert!(Evidence::parse(r#"{"schema":3}"#).is_err());
        assert!(Evidence::parse("no").is_err());
    }

    #[test]
    fn the_committed_summary_is_understood() {
        Evidence::committed().unwrap();
    }
}
