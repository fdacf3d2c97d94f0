//! How a launcher is used: one file of TOML for each.

mod claims;
mod needs;
mod shipped;
mod template;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

pub use claims::{Claims, HIGHEST, PROMISE_IDS};
pub(crate) use needs::path;
pub use needs::{Need, find, missing};
pub use shipped::SHIPPED;
pub use template::{Template, Values, fill};

/// One launcher, as its adapter describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub id: String,
    /// How it was asked for: its id, or a path.
    #[serde(skip)]
    pub named: String,
    /// What it is, in one line.
    pub about: String,
    /// What its own documentation says about the end of what it starts, and where.
    #[serde(default)]
    pub says: String,
    /// The command that prints its version.
    #[serde(default)]
    pub version: Template,
    /// The package that its files come from.
    #[serde(default)]
    pub package: String,
    /// How it runs a program.
    pub run: Template,
    /// How it runs a program for a limited time.
    pub limit: Option<Template>,
    /// How a run is stopped from outside.
    pub stop: Option<Template>,
    /// Commands before a run.
    #[serde(default)]
    pub before: Vec<Template>,
    /// Commands after a run, and before anything is looked for that it may have left.
    #[serde(default)]
    pub after: Vec<Template>,
    /// Files that are made in the directory of a run, by their names.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// What it needs besides the program that `run` begins with.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// How long after the limit it may still give a program time to end by itself.
    #[serde(default)]
    pub grace_ms: u64,
    /// Its exit codes for "the limit was reached". Empty: any will do.
    #[serde(default)]
    pub timed_out: Vec<i32>,
    /// Its exit codes for a program that cannot be started.
    #[serde(default = "not_started")]
    pub not_started: Vec<i32>,
    /// How it reports that a signal ended the program.
    #[serde(default)]
    pub signal: SignalAs,
    /// What of it is run by something that it did not start, such as systemd: `/run` then has to be
    /// the machine's own.
    #[serde(default)]
    pub broker: bool,
    /// What it is claimed to keep, and up to which level.
    #[serde(default)]
    pub claims: Claims,
}

/// How a launcher reports that a signal ended the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalAs {
    /// As a shell does (128 and the number), or by the same signal.
    #[default]
    Either,
    /// As a shell does.
    Code,
    /// It ends by the same signal.
    Signal,
    /// By minus the number, as Python's `subprocess` and an exit code of eight bits do.
    Negative,
}

fn not_started() -> Vec<i32> {
    vec![126, 127]
}

/// Why an adapter cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The file cannot be read.
    #[error("could not read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The answer.
        error: std::io::Error,
    },
    /// It is not an adapter.
    #[error("{path}:{line}:{column}: {message}")]
    Mistake {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// No such launcher is shipped.
    #[error("there is no adapter {id:?}{near}; `allgone-conform list` names all")]
    Unknown {
        /// What was asked for.
        id: String,
        /// One with a similar name.
        near: String,
    },
}

impl Adapter {
    /// Understands the text of an adapter. `path` is for messages, and gives the id.
    ///
    /// Errors: a mistake, with line and column.
    pub fn parse(path: &str, text: &str) -> Result<Self, AdapterError> {
        let mistake = |at: usize, message: String| {
            let before = text.get(..at).unwrap_or(text);
            AdapterError::Mistake {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before
                    .rsplit('\n')
                    .next()
                    .map_or(0, |line| line.chars().count())
                    + 1,
                message,
            }
        };
        let mut adapter: Self = toml::from_str(text).map_err(|e| {
            let message = e.message().replace('\n', ", ");
            mistake(e.span().map_or(0, |span| span.start), message)
        })?;
        for (command, wanted) in [
            (Some(&adapter.run), true),
            (adapter.limit.as_ref(), true),
            (adapter.stop.as_ref(), false),
        ] {
            let Some(command) = command else { continue };
            if let Err(message) = command.usable(wanted) {
                return Err(mistake(command.at(), message));
            }
        }
        let name = Path::new(path).file_stem();
        adapter.id = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        adapter.named.clone_from(&adapter.id);
        Ok(adapter)
    }

    /// The adapter that is meant: a path of a file if it has a slash or ends in `.toml`, otherwise
    /// the id of one that is shipped.
    ///
    /// Errors: as [`Adapter::parse`]; there is none.
    pub fn load(name: &str) -> Result<Self, AdapterError> {
        if name.contains('/') || name.ends_with(".toml") {
            let text = std::fs::read_to_string(name).map_err(|error| AdapterError::Read {
                path: name.to_owned(),
                error,
            })?;
            let mut adapter = Self::parse(name, &text)?;
            name.clone_into(&mut adapter.named);
            return Ok(adapter);
        }
        match SHIPPED.iter().find(|(id, _)| *id == name) {
            Some((id, text)) => Self::parse(&format!("adapters/{id}.toml"), text),
            None => Err(AdapterError::Unknown {
                id: name.to_owned(),
                near: SHIPPED
                    .iter()
                    .find(|(id, _)| id.starts_with(name) || name.starts_with(id))
                    .map_or_else(String::new, |(id, _)| format!(" (is {id} meant?)")),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
