//! Code that several strategies share.
//!
//! A strategy itself is one file beside this directory.

pub(super) mod probe;
