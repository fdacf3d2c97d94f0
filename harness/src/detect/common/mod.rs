//! Code that several detectors share. A detector itself is one file beside this directory.

pub(super) mod agent;
pub(super) mod hinted;
pub(super) mod inotify;
pub(super) mod passes;
pub(crate) mod probe;
pub(super) mod proc_stat;
pub(super) mod released;
pub(super) mod removal;
pub(super) mod v1_memory;
