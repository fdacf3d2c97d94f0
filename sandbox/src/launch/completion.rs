//! What is known of a run, as data: from the lines that its launcher writes.

use std::path::PathBuf;
use std::time::Duration;

use allgone::sys::spawn::results::Cause;
use serde::Deserialize;
use serde_json::Value;

use super::LaunchError;
use crate::end::Proof;
use crate::tier::Tier;

/// The program exists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// By which mechanism it is held.
    pub tier: Tier,
    /// Process id of its init, in the launcher's PID namespace, which was the host's at
    /// [`Launcher::start`](super::Launcher::start).
    pub init: i32,
    /// Process id of the main process there. `None`: without /proc it is not known.
    pub pid: Option<i32>,
    /// Its cgroup.
    pub cgroup: Option<PathBuf>,
}

/// How the main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Signaled {
        /// Its number.
        signal: i32,
        /// Whether there was a core dump.
        core: bool,
    },
    /// It is not known: init was killed before it had seen it.
    Unknown,
}

/// What all of it has used, of what was waited for; getrusage(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most resident memory that one of its processes had.
    pub peak_bytes: u64,
}

/// A run that is over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Completion {
    /// By which mechanism it was held.
    pub tier: Tier,
    /// How the main process ended.
    pub status: Status,
    /// Why all of it was ended: [`Cause::None`] if it ended by itself.
    pub ended_by: Cause,
    /// Whether SIGKILL was needed.
    pub killed: bool,
    /// How often the kernel killed for want of memory, if that was limited and is known.
    pub oom_kills: Option<u64>,
    /// That nothing of it is left, or who is.
    pub proof: Proof,
    /// From the spawn to the proof.
    pub wall: Duration,
    /// What it has used, if that is known.
    pub usage: Option<Usage>,
    /// All of the report, of the form of `report.schema.json`.
    pub report: Value,
}

/// A line of the launcher.
#[derive(Debug)]
pub(super) enum Line {
    Accepted,
    Started(Started),
    MainEnded,
    Refused(LaunchError),
    Over(Box<Completion>),
    /// One that means nothing here.
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Wire {
    Accepted,
    Started {
        tier: String,
        init: i32,
        pid: Option<i32>,
        cgroup: Option<PathBuf>,
    },
    MainEnded,
    Refused {
        kind: String,
        error: String,
    },
    Over {
        report: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Document {
    tier: String,
    error: Option<String>,
    error_kind: Option<String>,
    main: Option<Main>,
    ended_by: String,
    sigkill_needed: bool,
    wall_ms: f64,
    usage: Option<Used>,
    oom_kills: Option<u64>,
    proof: Proved,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Main {
    Exited { exit: u8 },
    Signaled { signal: i32, core: bool },
}

#[derive(Deserialize)]
struct Used {
    user_us: u64,
    system_us: u64,
    max_rss_kib: u64,
}

#[derive(Deserialize)]
struct Proved {
    proved: bool,
    cgroup: Option<PathBuf>,
    why_no_cgroup: Option<String>,
    why: Option<String>,
}

impl Line {
    pub(super) fn parse(line: &[u8]) -> Result<Self, LaunchError> {
        let wire: Wire = serde_json::from_slice(line).map_err(misread)?;
        Ok(match wire {
            Wire::Accepted => Self::Accepted,
            Wire::MainEnded => Self::MainEnded,
            Wire::Other => Self::Other,
            Wire::Refused { kind, error } => Self::Refused(LaunchError::refused(&kind, error)),
            Wire::Started {
                tier,
                init,
                pid,
                cgroup,
            } => Self::Started(Started {
                tier: tier_of(&tier)?,
                init,
                pid,
                cgroup,
            }),
            Wire::Over { report } => over(report)?,
        })
    }
}

fn over(report: Value) -> Result<Line, LaunchError> {
    let document = Document::deserialize(&report).map_err(misread)?;
    if let (Some(why), Some(kind)) = (document.error, document.error_kind)
        && kind != "unproved"
    {
        return Ok(Line::Refused(LaunchError::refused(&kind, why)));
    }
    let wall = document.wall_ms.max(0.0) / 1_000.0;
    Ok(Line::Over(Box::new(Completion {
        tier: tier_of(&document.tier)?,
        status: match document.main {
            None => Status::Unknown,
            Some(Main::Exited { exit }) => Status::Exited(exit),
            Some(Main::Signaled { signal, core }) => Status::Signaled { signal, core },
        },
        ended_by: Cause::named(&document.ended_by).ok_or_else(|| misread(document.ended_by))?,
        killed: document.sigkill_needed,
        oom_kills: document.oom_kills,
        proof: match document.proof {
            Proved {
                proved: false, why, ..
            } => Proof::Unproved(why.unwrap_or_default()),
            Proved {
                cgroup: Some(path), ..
            } => Proof::Removed(path),
            Proved {
                why_no_cgroup: Some(why),
                ..
            } => Proof::Reaped(why),
            _ => Proof::NoneLeft,
        },
        wall: Duration::try_from_secs_f64(wall).map_err(misread)?,
        usage: document.usage.map(|used| Usage {
            user: Duration::from_micros(used.user_us),
            system: Duration::from_micros(used.system_us),
            peak_bytes: used.max_rss_kib.saturating_mul(1024),
        }),
        report,
    })))
}

fn tier_of(name: &str) -> Result<Tier, LaunchError> {
    Tier::named(name).ok_or_else(|| misread(name))
}

fn misread(why: impl ToString) -> LaunchError {
    LaunchError::Version(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_no_end() {
        assert!(matches!(
            Line::parse(br#"{"event":"news","x":1}"#),
            Ok(Line::Other)
        ));
        for line in [&b"{}"[..], b"", b"{\"event\":\"over\",\"report\":{}}"] {
            assert!(matches!(Line::parse(line), Err(LaunchError::Version(_))));
        }
        let line = br#"{"event":"refused","kind":"not-found","error":"x","exit_code":127}"#;
        assert!(matches!(
            Line::parse(line),
            Ok(Line::Refused(LaunchError::NotFound(_)))
        ));
    }
}
