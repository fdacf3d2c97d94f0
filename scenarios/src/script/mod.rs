//! Random scripts, and smaller ones: for tests that look for a tree on which a mechanism is wrong.
//!
//! The language itself is that of the crate [`actor`].

mod generate;
mod shrink;

pub use actor::script::{Comm, Each, FOREVER, Op, Script, ScriptError, model};
pub use generate::{Bounds, random};
pub use shrink::smaller;
