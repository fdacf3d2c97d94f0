//! The model of `kernel-patch/model`, checked with SPIN: one run of `pan` for each configuration.
//!
//! A configuration is a set of preprocessor switches, one property, and what must come: no
//! counter-example, or one. What the model has and leaves out is in `kernel-patch/model/README.md`.

mod pan;
mod rows;

pub use pan::{Checked, Checker, Outcome};
pub use rows::{Expected, ROWS, Row, row};

use std::path::PathBuf;

use thiserror::Error;

/// Why a configuration has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A program failed.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessError),
    /// A file of the model could not be copied to where it is checked.
    #[error("cannot copy {} to where it is checked: {cause}", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        cause: std::io::Error,
    },
    /// SPIN did not accept the model.
    #[error("SPIN does not accept the model with {switches}:\n{said}")]
    Refused {
        /// The switches.
        switches: String,
        /// What it said.
        said: String,
    },
    /// The search did not end, so that its silence says nothing.
    #[error("the search was not complete: {why}")]
    Incomplete {
        /// What `pan` said.
        why: String,
    },
}
