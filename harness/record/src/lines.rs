//! Records in a file: one line of JSON each.

use std::io::{self, BufRead, Write};

use serde::Serialize;
use thiserror::Error;

use crate::{SCHEMA, TrialRecord};

/// A line that is no record of this version.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file.
    #[error("could not read line {line}: {source}")]
    Io {
        /// Line number, from 1.
        line: usize,
        /// The system's answer.
        source: io::Error,
    },
    /// The text.
    #[error("line {line} is not a trial record: {fault}")]
    Json {
        /// Line number, from 1.
        line: usize,
        /// What the parser met, and in which column.
        fault: String,
    },
    /// A newer writer.
    #[error("line {line} has schema {found}; this program reads up to {SCHEMA}")]
    Schema {
        /// Line number, from 1.
        line: usize,
        /// What the line says.
        found: u32,
    },
}

impl ReadError {
    /// The same of another line: of the file, where its lines are read one by one.
    #[must_use]
    pub fn at_line(mut self, number: usize) -> Self {
        match &mut self {
            Self::Io { line, .. } | Self::Json { line, .. } | Self::Schema { line, .. } => {
                *line = number
            }
        }
        self
    }
}

/// What is wrong with one line of JSON. The parser counts lines, too: of a text of one line, which
/// says nothing about the file.
pub fn fault(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => text,
    }
}

/// Writes one record as one line and flushes, so that a later crash loses nothing.
pub fn write_line(out: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Reads records, one a line. An unfinished last line (a crash while writing) is an error of that
/// line only.
pub fn read_lines(input: impl BufRead) -> impl Iterator<Item = Result<TrialRecord, ReadError>> {
    input.lines().enumerate().map(|(index, text)| {
        let line = index + 1;
        let text = text.map_err(|source| ReadError::Io { line, source })?;
        let record: TrialRecord = serde_json::from_str(&text).map_err(|e| ReadError::Json {
            line,
            fault: fault(&e),
        })?;
        if record.schema > SCHEMA {
            Err(ReadError::Schema {
                line,
                found: record.schema,
            })
        } else {
            Ok(record)
        }
    })
}
