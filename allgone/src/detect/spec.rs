//! The facts about a detector.

use crate::effects::{Effects, Reaps};
use crate::host::KernelVersion;
use crate::param::{Axis, Unit};
use crate::scope::Scope;

/// How a detector learns of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Wake {
    /// It sleeps until the kernel wakes it.
    Event,
    /// It reads at intervals.
    Interval,
    /// It never sleeps.
    Spin,
}

/// What a detector can be woken by at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Signal {
    /// The set becoming empty.
    Emptiness,
    /// The set's cgroup being removed, and nothing else: without a removal it is never woken.
    Removal,
    /// The removal of a cgroup other than the set's.
    ForeignRemoval,
}

/// Time between two reads, for detectors that read at intervals.
pub const INTERVAL: Axis = Axis {
    name: "interval",
    unit: Unit::Nanoseconds,
    default: 1_000_000,
    kill_default: None,
    doc: "time between two reads of a detector that reads at intervals",
};

/// The facts about a detector.
#[derive(Clone, Copy, Debug)]
pub struct DetectorSpec {
    /// Kebab-case; the file's name with `-` for `_`. It names the mechanism, not a virtue.
    pub id: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// Which processes it can see.
    pub scope: Scope,
    /// How it learns of a change.
    pub wake: Wake,
    /// What it is woken by.
    pub signal: Signal,
    /// What it changes in the process that uses it.
    pub effects: Effects,
    /// First kernel that has everything it needs.
    pub since: KernelVersion,
    /// What a process needs to be allowed to use it, beyond a cgroup of its own. Empty: nothing.
    pub privilege: &'static str,
    /// Which processes of the tree can escape it, and how.
    pub escapes: &'static str,
    /// When it says "empty" too early. Empty: never, for the processes in its scope.
    pub early: &'static str,
    /// When it is late, and by how much.
    pub late: &'static str,
    /// What it costs while nothing happens.
    pub idle_cost: &'static str,
    /// What happens when its source of events overflows or is lost.
    pub overflow: &'static str,
    /// Whether a sleeper may never be woken if the owner removes the cgroup (the lost wake-up).
    pub loses_on_removal: bool,
    /// Man page sections, kernel files and commits.
    pub sources: &'static [&'static str],
    /// What can be varied.
    pub axes: &'static [Axis],
}

impl DetectorSpec {
    /// Whether it reaps what it waits for. A program that also waits elsewhere must know.
    pub fn reaps(&self) -> bool {
        self.effects.reaps != Reaps::Nothing
    }

    /// Whether its verdict rests on passes over `/proc` alone.
    pub fn passes_over_proc(&self) -> bool {
        self.wake == Wake::Interval && matches!(self.scope, Scope::SystemWide | Scope::Session)
    }
}
