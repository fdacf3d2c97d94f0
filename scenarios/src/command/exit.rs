//! What the command's exit code means. The only place where the numbers are written, and what
//! `--help` prints.

use std::fmt;
use std::process::ExitCode;

/// How a run of the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Every expectation held.
    Held,
    /// An internal error, or something was left behind.
    Internal,
    /// The command line was not understood.
    Usage,
    /// A feature that is required, or was asked for by name, is missing on this machine.
    Missing,
    /// An expectation did not hold.
    NotHeld,
    /// Interrupted, or not every trial could be run and recorded.
    Incomplete,
    /// A campaign has used up the time that it was given, and is not complete.
    Paused,
}

impl Exit {
    /// All of them, in the order of `--help`.
    pub(super) const ALL: [Self; 7] = [
        Self::Held,
        Self::NotHeld,
        Self::Usage,
        Self::Missing,
        Self::Incomplete,
        Self::Paused,
        Self::Internal,
    ];

    /// The number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Missing => 3,
            Self::NotHeld => 4,
            Self::Incomplete => 5,
            Self::Paused => 6,
        }
    }

    /// What it means, in a few words.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Held => "every expectation held",
            Self::NotHeld => "an expectation did not hold",
            Self::Usage => "the command line was not understood; nothing was started",
            Self::Missing => {
                "a feature that is required, or was asked for by name, is missing here"
            }
            Self::Incomplete => "interrupted, or a trial could not be run or recorded",
            Self::Paused => "stopped after --for, in good order; `measure --resume DIR` goes on",
            Self::Internal => "an error inside, or something was left behind",
        }
    }

    /// The section of `--help`.
    pub(super) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            text.push_str(&format!("  {}  {}\n", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why the command stops before it has a summary to print.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is printed.
    pub error: anyhow::Error,
}

impl Failure {
    /// The command line was not understood.
    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Usage,
            error: anyhow::anyhow!("{message}"),
        }
    }

    /// Something that is required is missing here.
    pub(super) fn missing(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Missing,
            error: error.into(),
        }
    }

    /// Trials cannot be recorded where the user wants them.
    pub(super) fn bad_place(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Usage,
            error,
        }
    }

    /// A trial could not be run or recorded.
    pub(super) fn incomplete(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Incomplete,
            error: error.into(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Internal,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_in_the_help() {
        let help = Exit::help();
        for exit in Exit::ALL {
            assert_eq!(
                Exit::ALL.iter().filter(|e| e.code() == exit.code()).count(),
                1
            );
            assert!(help.contains(&format!("  {}  {}", exit.code(), exit.meaning())));
        }
    }
}
