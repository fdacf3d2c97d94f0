//! Scripts as text, for people.
//!
//! ```text
//! # a daemon
//! main:
//!   fork middle
//! middle:
//!   setsid
//!   fork daemon
//!   await-parent
//! daemon:
//!   close-all
//!   await-parent
//!   ready
//!   live 50ms
//! ```
//!
//! A label begins a block; the main process plays `main`. An operation ends with its line or with
//! `;`. A comment begins with `#` and ends with its line. What is printed has one form, and is read
//! as the same script.

mod argument;
mod forms;
mod lex;
mod read;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::script::{Script, block_name};
pub use forms::{WORDS, usage};

/// The longest text that is read, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// The longest name of a block, in bytes.
const MAX_NAME: usize = 40;

/// A text that is no script, or a script that cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct TextError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What was found, and what was expected.
    pub problem: String,
}

/// A script whose blocks have names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    script: Script,
    names: Vec<String>,
}

impl Named {
    /// Reads a text: UTF-8, of at most [`MAX_BYTES`]. The script has been checked.
    pub fn read(bytes: &[u8]) -> Result<Self, TextError> {
        read::read(bytes)
    }

    /// The script.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Without the names.
    pub fn into_script(self) -> Script {
        self.script
    }

    /// The name of a block.
    pub fn name(&self, block: usize) -> Cow<'_, str> {
        name(&self.names, block)
    }
}

fn name(names: &[String], block: usize) -> Cow<'_, str> {
    names
        .get(block)
        .map_or_else(|| block_name(block), |name| name.as_str().into())
}

impl From<Script> for Named {
    /// The blocks are called `main`, `block-1`, `block-2`.
    fn from(script: Script) -> Self {
        Self {
            script,
            names: Vec::new(),
        }
    }
}

impl FromStr for Named {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::read(text.as_bytes())
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, &self.script, &|block| self.name(block))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self, &block_name)
    }
}

fn print<'n>(
    f: &mut fmt::Formatter<'_>,
    script: &Script,
    name: &dyn Fn(usize) -> Cow<'n, str>,
) -> fmt::Result {
    for (block, ops) in script.blocks.iter().enumerate() {
        writeln!(f, "{}:", name(block))?;
        for op in ops {
            writeln!(f, "  {}", forms::write(*op, name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
