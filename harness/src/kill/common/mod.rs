//! What several strategies share: how a member is signalled, how all of them are held, and probes.
//!
//! Nothing in here is a strategy; a strategy is a file beside this directory.

pub(super) mod freeze;
pub(super) mod hold;
pub(super) mod levers;
pub(super) mod probe;
pub(super) mod signal;
pub(super) mod sweep;
