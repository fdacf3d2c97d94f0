//! How a workload came into its cgroup.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::earlier::Earlier;

/// How the workload came into its cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Entry {
    /// It was born there.
    Born,
    /// It moved itself there before exec, because the kernel refused to let it be born there.
    Moved {
        /// The kernel's refusal, in its own spelling.
        errno: String,
    },
    /// No cgroup was asked for.
    None,
}

/// Up to schema 2: `born`, `none`, `moved: clone3 into the cgroup was refused with ENOSYS`, or
/// nothing at all where the trial broke before its workload was started.
impl Earlier for Entry {
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "" => None,
            "born" => Some(Self::Born),
            "none" => Some(Self::None),
            moved => Some(Self::Moved {
                errno: moved.rsplit(' ').next().unwrap_or_default().to_owned(),
            }),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Born => f.write_str("born"),
            Self::Moved { errno } => write!(f, "moved ({errno})"),
            Self::None => f.write_str("none"),
        }
    }
}
