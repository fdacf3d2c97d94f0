//! What several strategies share.
//!
//! Nothing in here is a strategy; a strategy is a file beside this directory.

pub(super) mod probe;
