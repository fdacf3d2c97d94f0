//! What a detector said, and what the wait took.

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
    /// The cgroup is gone: somebody else removed it. It was empty then, but this detector did not
    /// see it.
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
    /// Times it went without what its name says (a pool that had nothing warm).
    #[serde(default)]
    pub fallbacks: u64,
    /// What it cost before the workload could start (a pool's warm-up, a seize), if it measures
    /// that.
    pub prepare_ns: u64,
    /// When the workload was asked to start, if that is not its spawn: a process that had been made
    /// beforehand was let go. 0: at its spawn.
    #[serde(default)]
    pub asked_ns: u64,
}
