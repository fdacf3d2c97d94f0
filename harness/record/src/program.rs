//! A workload that is any program, and how the truth about it is known.

use serde::{Deserialize, Serialize};

/// The workload of a trial that is not a scenario's actor.
///
/// It stamps no ledger, so the truth about its end is an interval: from the last moment at which
/// something of it was certainly alive ([`over_lower_ns`](crate::Stamps::over_lower_ns)) to the
/// first at which all were certainly gone ([`over_upper_ns`](crate::Stamps::over_upper_ns)).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgramRecord {
    /// Its arguments, the zeroth included.
    pub argv: Vec<String>,
    /// What the interval was learned from. All of them have to agree that nothing is left.
    pub truth: Vec<TruthSource>,
    /// How its first process ended, in words. Absent if it lived on, or a detector has reaped it.
    pub main: Option<String>,
    /// Its cgroup was empty while one of its processes was alive elsewhere.
    pub left_its_cgroup: bool,
}

/// What the truth about a program is learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TruthSource {
    /// The cgroup: a process listed in `cgroup.procs` is alive, `populated 0` means that none is.
    Cgroup,
    /// The kernel's fork, exec and exit events (proc connector), without a loss.
    ProcessEvents,
    /// A write lease on a copy of the executable that only the program has: it is refused as long
    /// as a process executes it.
    Lease,
}

impl TruthSource {
    /// Its name, as it stands in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::ProcessEvents => "process-events",
            Self::Lease => "lease",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_recorded_under_its_name() {
        for source in [
            TruthSource::Cgroup,
            TruthSource::ProcessEvents,
            TruthSource::Lease,
        ] {
            let text = serde_json::to_string(&source).unwrap();
            assert_eq!(text, format!("\"{}\"", source.name()));
        }
    }
}
