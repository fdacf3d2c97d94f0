//! What a trial's outcome does not say by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Canary;
use crate::earlier::Earlier;

/// Why a trial was not as expected, or why it broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Note {
    /// A process was alive when the detector said "empty".
    WasAlive {
        /// The process.
        pid: i32,
    },
    /// The strategy hit canaries.
    CanariesHit {
        /// Which.
        canaries: Vec<Canary>,
    },
    /// The run was interrupted during the trial.
    Interrupted,
    /// The trial broke; the record's `cause` has the kind.
    Broke {
        /// What happened to which process, or which operation failed on what.
        what: String,
        /// The kernel's answer in its own spelling, if that is why.
        errno: Option<String>,
    },
    /// A note of schema 1 or 2, which had no kind.
    Text {
        /// The note.
        text: String,
    },
}

impl Earlier for Note {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self::Text {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WasAlive { pid } => {
                write!(
                    f,
                    "process {pid} was alive when the detector said \"empty\""
                )
            }
            Self::CanariesHit { canaries } => {
                let names: Vec<String> = canaries.iter().map(Canary::to_string).collect();
                write!(f, "canaries hit: {}", names.join(", "))
            }
            Self::Interrupted => f.write_str("the run was interrupted during this trial"),
            Self::Broke { what: text, .. } | Self::Text { text } => f.write_str(text),
        }
    }
}
