//! A failed system call in a record.

use serde::{Deserialize, Serialize};

/// A system call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// What was tried.
    pub op: String,
    /// On what, empty if it has no name.
    pub target: String,
    /// Kernel spelling, such as `EBUSY`.
    pub errno: String,
}
