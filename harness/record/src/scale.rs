//! One completion in a loop that watches many sites: one JSON line.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::earlier::{self, Earlier};

/// One job that ended while `sites` sites were watched, or, with [`Outcome::Broken`], why there are
/// none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleRecord {
    /// [`super::SCHEMA`] of the writer.
    pub schema: u32,
    /// The run it belongs to.
    pub run: String,
    /// Mechanism id.
    pub mechanism: String,
    /// Sites that were watched.
    pub sites: u32,
    /// Populated sites, the one whose process ended included.
    pub populated: u32,
    /// Number of the job in its loop, from 0.
    pub job: u32,
    /// The site in which the job ended.
    pub site: u32,
    /// What setting up took for each site: making the watch, in nanoseconds.
    pub watch_ns_per_site: u64,
    /// How busy the machine's processors were just before the first job, in thousandths of their
    /// time. `None`: the kernel does not say.
    #[serde(default)]
    pub busy_permille: Option<u32>,
    /// Descriptors that the loop's process held while it waited.
    pub descriptors: u32,
    /// The job was told to end.
    pub asked_ns: Option<u64>,
    /// The job's stamp just before its exit.
    pub exit_ns: Option<u64>,
    /// The loop had read that the site is empty.
    pub decided_ns: Option<u64>,
    /// CPU time of the loop from telling the job to end to the verdict.
    pub cpu_ns: u64,
    /// Returns from a sleep meanwhile.
    pub wakeups: u64,
    /// Reads of a site's state meanwhile.
    pub reads: u64,
    /// Overflows of the source of events meanwhile.
    pub overflows: u64,
    /// Right: this site, no other, and not before it was empty.
    pub outcome: Outcome,
    /// Why it is not right, or why nothing could be measured.
    #[serde(default, deserialize_with = "earlier::one")]
    pub note: Option<ScaleNote>,
}

/// Why a loop's answer is not right, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ScaleNote {
    /// It said nothing until the deadline.
    NothingSaid,
    /// It said something else than that this site is empty.
    SaidOtherwise {
        /// What.
        said: String,
    },
    /// The loop ended, or was ended, before its last job.
    Unfinished,
    /// A part of the loop could not be set up, or failed.
    Failed {
        /// What was tried on what, and the answer.
        what: String,
    },
    /// A note of schema 1 or 2, which had no kind.
    Text {
        /// The note.
        text: String,
    },
}

impl Earlier for ScaleNote {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self::Text {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for ScaleNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingSaid => f.write_str("nothing was said until the deadline"),
            Self::Unfinished => f.write_str("the loop did not come to its end"),
            Self::SaidOtherwise { said: text }
            | Self::Failed { what: text }
            | Self::Text { text } => f.write_str(text),
        }
    }
}
