//! What a trial has to itself: a watched cgroup, the cgroup around it that carries the belts, and the ledger.

use std::path::PathBuf;

use crate::cgroup::Cgroup;
use crate::expect::Plane;
use crate::param::{Axis, ParamPoint};
use crate::sys::ledger::Ledger;
use crate::sys::spawn::Credentials;

/// Directories of the trial in v1 hierarchies, on a hybrid machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Belts {
    /// In the pids hierarchy.
    pub pids: PathBuf,
    /// In the memory hierarchy, if there is one.
    pub memory: Option<PathBuf>,
}

/// The place of one trial.
///
/// ```text
/// scenario-<run>/          the run
///   control/               observers and canaries
///   <trial>/               belts (pids.max, memory.max); one canary lives here
///     site/                the workload is born here: this is what detectors watch and strategies kill
/// ```
#[derive(Debug)]
pub struct Site {
    /// The watched cgroup.
    pub cgroup: Cgroup,
    /// Its parent, which carries the belts where controllers are v2.
    pub parent: Cgroup,
    /// Where the harness's own helpers live.
    pub control: Cgroup,
    /// The belts of a hybrid machine.
    pub v1: Option<V1Belts>,
    /// What the actors tell.
    pub ledger: Ledger,
    /// Whom actors become; `None` when the harness is not root, and actors share its user.
    pub credentials: Option<Credentials>,
    /// Which plane this trial belongs to.
    pub plane: Plane,
    /// The values of all axes.
    pub params: ParamPoint,
}

impl Site {
    /// The value of an axis in this trial.
    pub fn param(&self, axis: &Axis) -> u64 {
        self.params.get(axis)
    }
}
