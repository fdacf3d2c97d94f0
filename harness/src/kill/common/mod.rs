//! Code that several strategies share.
//!
//! A strategy itself is one file beside this directory.

mod acting;
pub(super) mod probe;

pub(super) use acting::acting;
