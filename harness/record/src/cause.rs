//! Why a trial broke, by kind.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a trial broke, by kind; the record's note has the details. No kind counts for or against a
/// mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A process of the tree was ended by something outside of the trial.
    KilledFromOutside,
    /// The kernel's OOM killer ended a process of the trial.
    OomKilled,
    /// A process of the tree, the observer or one that a mechanism uses was stopped by something
    /// outside of the trial (SIGSTOP).
    StoppedFromOutside,
    /// A guard was killed, which ends the run.
    GuardKilled,
    /// The observer was ended by a signal.
    ObserverKilled,
    /// The observer did not end within its time.
    ObserverHung,
    /// A canary ended, and not by the strategy.
    CanaryKilled,
    /// A descriptor, an inotify instance or watch, a task or memory could not be allocated.
    OutOfResources,
    /// A limit refused forks that the script needs.
    ForksRefused,
    /// The workload could not be started, or ended before it began to play.
    NotStarted,
    /// The tree did not reach the state in which it is to be killed.
    NotReady,
    /// The mechanism could not be set up, or failed in a way that is not a verdict.
    MechanismFailed,
    /// The harness did not run when it was to, for seconds, and a deadline passed meanwhile.
    NotScheduled,
    /// The harness could not do its own part.
    HarnessFailed,
}

impl Cause {
    /// Its name, as it stands in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::KilledFromOutside => "killed-from-outside",
            Self::OomKilled => "oom-killed",
            Self::StoppedFromOutside => "stopped-from-outside",
            Self::GuardKilled => "guard-killed",
            Self::ObserverKilled => "observer-killed",
            Self::ObserverHung => "observer-hung",
            Self::CanaryKilled => "canary-killed",
            Self::OutOfResources => "out-of-resources",
            Self::ForksRefused => "forks-refused",
            Self::NotStarted => "not-started",
            Self::NotReady => "not-ready",
            Self::MechanismFailed => "mechanism-failed",
            Self::NotScheduled => "not-scheduled",
            Self::HarnessFailed => "harness-failed",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_recorded_under_its_name() {
        for cause in [
            Cause::KilledFromOutside,
            Cause::OomKilled,
            Cause::StoppedFromOutside,
            Cause::GuardKilled,
            Cause::NotScheduled,
            Cause::HarnessFailed,
        ] {
            assert_eq!(
                serde_json::to_string(&cause).unwrap(),
                format!("\"{cause}\"")
            );
        }
    }
}
