//! What a detector costs beside its latency: a launch, if it holds the workload back, and a second
//! of waiting for a tree that sleeps.

use comfy_table::Table;
use harness::expect::Plane;
use harness::record::TrialRecord;

use super::stats::Sample;
use super::summary::Row;
use super::table::{align_right, count, duration, group, narrow, plain_number};

/// The title of [`table`].
pub(super) const TITLE: &str = "Costs: a launch (from asking for it to the workload's first \
    stamp), and a second\n\
    of waiting for a tree that sleeps";

/// The detector that is printed for comparison: it requires nothing of a launch.
const PLAIN_LAUNCH: &str = "waitpid-main";

/// The costs of one row.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    /// From asking for the workload to its own first stamp, in trials that got so far.
    pub launch: Sample,
    /// Whether the detector holds the workload back before its exec, so that a launch costs more.
    pub holds_back: bool,
    /// Trials in which the detector had to do without what its name says.
    pub fell_back: usize,
    /// CPU time of the observer for each second of waiting, if the tree slept for long enough.
    pub idle_cpu_per_s: Sample,
    /// Times that the observer went back to sleep meanwhile.
    pub idle_wakeups: Sample,
}

/// Sums costs up, trial by trial.
#[derive(Clone, Debug, Default)]
pub(super) struct CostTally {
    launches: Vec<u64>,
    holds_back: bool,
    fell_back: usize,
    idle_cpu_per_s: Vec<u64>,
    idle_wakeups: Vec<u64>,
}

impl CostTally {
    /// Adds a trial that was played to its end.
    pub(super) fn add(&mut self, trial: &TrialRecord) {
        self.launches.extend(launch(trial));
        self.holds_back |= trial.counters.prepare_ns > 0 || trial.counters.asked_ns > 0;
        self.fell_back += usize::from(trial.counters.fallbacks > 0);
        if let Some(idle) = trial.idle {
            self.idle_cpu_per_s.push(idle.cpu_ns_per_s());
            self.idle_wakeups.push(idle.wakeups);
        }
    }

    /// The sums.
    pub(super) fn costs(self) -> Costs {
        Costs {
            launch: Sample::new(self.launches, 0),
            holds_back: self.holds_back,
            fell_back: self.fell_back,
            idle_cpu_per_s: Sample::new(self.idle_cpu_per_s, 0),
            idle_wakeups: Sample::new(self.idle_wakeups, 0),
        }
    }
}

/// From asking for the workload (its spawn, or the release of a process made beforehand) to its own
/// first stamp.
fn launch(trial: &TrialRecord) -> Option<u64> {
    let asked = match trial.counters.asked_ns {
        0 => trial.stamps.spawn_ns?,
        asked => asked,
    };
    Some(trial.stamps.running_ns?.saturating_sub(asked))
}

impl Costs {
    fn tell(&self) -> bool {
        self.holds_back || self.fell_back > 0 || self.idle_cpu_per_s.len() > 0
    }
}

/// The rows of the detect plane with such costs, and the plainest launch beside them. `None`: there
/// are none.
pub(super) fn table(rows: &[Row]) -> Option<Table> {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.key.plane == Plane::Detect)
        .collect();
    rows.iter().find(|row| row.costs.tell())?;
    let mut table = narrow(&[
        "detector",
        "launch p50",
        "launch max",
        "fell back",
        "idle CPU per second",
        "idle wakes",
    ]);
    let mut scenario = "";
    for row in rows {
        let costs = &row.costs;
        if costs.tell() || row.key.mechanism == PLAIN_LAUNCH {
            group(&mut table, &mut scenario, row);
            table.add_row([
                format!("  {}", row.key.mechanism),
                duration(costs.launch.percentile(50)),
                duration(costs.launch.max()),
                count(costs.fell_back),
                duration(costs.idle_cpu_per_s.percentile(50)),
                plain_number(&costs.idle_wakeups),
            ]);
        }
    }
    align_right(&mut table, 1..6);
    Some(table)
}
