//! The verdict of a detector, and the counters of the wait.

use serde::{Deserialize, Serialize};

/// What a detector says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verdict {
    /// The set is empty.
    Empty {
        /// When it woke up for the last time.
        woke_ns: u64,
        /// When it had read the state that says so.
        decided_ns: u64,
    },
    /// The cgroup is gone: another process removed it. It must have been empty, but this detector
    /// did not see that.
    SiteRemoved {
        /// When that was noticed.
        at_ns: u64,
    },
    /// It cannot say. Unknown is never empty.
    Unknown {
        /// When.
        at_ns: u64,
        /// Why: operation and errno, or overflow.
        why: String,
        /// The kernel's answer in its own spelling, if that is why. Absent in records of schema 1.
        #[serde(default)]
        errno: Option<String>,
    },
    /// The deadline passed.
    DeadlinePassed {
        /// When.
        at_ns: u64,
    },
}

/// What a wait took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Returns from a sleep.
    pub wakeups: u64,
    /// Wake-ups after which nothing had changed.
    pub spurious: u64,
    /// Reads of the state.
    pub reads: u64,
    /// Overflows of the source of events.
    pub overflows: u64,
    /// Processes reaped.
    pub reaped: u64,
    /// When the mechanism itself says that its last event happened; 0 if it does not stamp its
    /// events.
    #[serde(default)]
    pub event_ns: u64,
    /// Times it had to do without what its name says (a pool that had no warm cgroup).
    #[serde(default)]
    pub fallbacks: u64,
    /// How long it took before the workload could start (a pool's warm-up, a seize), if that is
    /// measured.
    pub prepare_ns: u64,
    /// When the workload was asked to start, if its process had been made beforehand and only
    /// waited at a gate. 0: at its spawn.
    #[serde(default)]
    pub asked_ns: u64,
}
