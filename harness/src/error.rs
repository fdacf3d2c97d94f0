//! Errors, and their form in a record.

pub use allgone::error::{Reason, SysError, Target, retry_eintr};

use crate::cgroup::CgroupError;
use crate::record::ErrorRecord;

/// An error that can be recorded.
pub trait Recorded {
    /// Operation, target and errno, one by one.
    fn recorded(&self) -> ErrorRecord;
}

impl Recorded for SysError {
    fn recorded(&self) -> ErrorRecord {
        ErrorRecord {
            op: self.op.to_owned(),
            target: self.target.to_string().trim_start().to_owned(),
            errno: format!("{:?}", self.errno),
        }
    }
}

impl Recorded for CgroupError {
    fn recorded(&self) -> ErrorRecord {
        match self {
            Self::Sys(e) => e.recorded(),
            Self::Malformed { path, content } => ErrorRecord {
                op: format!("understand {content:?} in"),
                target: path.display().to_string(),
                errno: "EPROTO".to_owned(),
            },
            // Neither an errno nor a malformed file: in words.
            other => ErrorRecord {
                op: other.to_string(),
                target: String::new(),
                errno: String::new(),
            },
        }
    }
}
