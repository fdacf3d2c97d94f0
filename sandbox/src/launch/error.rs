//! What can go wrong for a library's caller.

use allgone::SysError;
use thiserror::Error;

use crate::error::Usage;

/// A program was not run, or nothing is known of its end.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The launchers' parent could not be started. Nothing of it is left.
    #[error("could not start {program}: {source}")]
    Start {
        /// What was to be executed.
        program: String,
        /// What failed. `EACCES`: a mount with `noexec`, or a security module.
        source: SysError,
    },
    /// What is asked for makes no sense.
    #[error(transparent)]
    Usage(#[from] Usage),
    /// The program is not there.
    #[error("{0}")]
    NotFound(String),
    /// The program is there and cannot be executed.
    #[error("{0}")]
    NotExecutable(String),
    /// Nothing was run: a limit that nothing enforces here, no tier that works, a directory that is
    /// not there. Nothing is left of it.
    #[error("{why}")]
    Refused {
        /// What kind of failure, in one word: `error_kind` in the schema of the report.
        kind: String,
        /// What the launcher says.
        why: String,
    },
    /// The launchers' parent is gone: start another one. Runs that it started go on.
    #[error("could not ask for a launcher: their parent has died; start another one")]
    Died,
    /// The launcher of a run is gone, before it could say how the run ended. Its init ends
    /// everything when that happens; that it has is not proved.
    #[error("the launcher has died: what it started is being ended by its init, without a proof")]
    LauncherDied,
    /// The launcher is of another version.
    #[error("could not understand the launcher: {0}: is it of another version?")]
    Version(String),
    /// This process was forked from the one that the launcher serves.
    #[error("could not ask for a launcher: it serves the process that this one was forked from")]
    Fork,
    /// A system call of this process.
    #[error(transparent)]
    Sys(#[from] SysError),
}

impl LaunchError {
    pub(super) fn refused(kind: &str, why: String) -> Self {
        match kind {
            "not-found" => Self::NotFound(why),
            "not-executable" => Self::NotExecutable(why),
            kind => Self::Refused {
                kind: kind.to_owned(),
                why,
            },
        }
    }
}
