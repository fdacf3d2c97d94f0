//! The two planes of the matrix, and the bystanders of a kill.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which plane of the matrix a trial belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plane {
    /// A detector watches; nothing is killed.
    Detect,
    /// A strategy kills; one reference detector and the oracle watch.
    Kill,
}

/// A process outside the set that a kill must not hit. One of each kind runs beside every kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Canary {
    /// Shares the actors' user.
    SameUid,
    /// Shares the main process's process group and session.
    SameGroup,
    /// Lives in the parent of the site's cgroup.
    ParentCgroup,
    /// Is given a pid that a member of the set has just freed.
    ReusedPid,
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameUid => "same-uid",
            Self::SameGroup => "same-group",
            Self::ParentCgroup => "parent-cgroup",
            Self::ReusedPid => "reused-pid",
        })
    }
}
