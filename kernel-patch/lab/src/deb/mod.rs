//! Debian packages without touching the system's apt: indices, versions, private directories,
//! verified downloads.

mod apt;
mod index;
mod version;

pub use apt::{Apt, Suite};
pub use index::{Package, parse_index};
pub use version::compare;

use thiserror::Error;

/// A file that is not what the signed index says.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "wrong checksum: {file} has SHA-256 {got}, the signed index says {expected}; the file was \
        removed"
)]
pub struct WrongChecksum {
    /// The file.
    pub file: String,
    /// What it hashes to.
    pub got: String,
    /// What it should hash to.
    pub expected: String,
}
