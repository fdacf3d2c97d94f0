//! The mechanisms under comparison, and the trial that measures them.
//!
//! There are two questions: when is a tree of processes over, and how is it ended? [`detect`] holds
//! one file per answer to the first, [`kill`] one per answer to the second. [`trial`] starts a
//! workload inside limits, applies one detector and at most one strategy to it, and compares what
//! they say with the truth. They rest on [`cgroup`] and [`host`]. [`mod@record`] is the result of a
//! trial.
//!
//! What this crate does not do: choose workloads (crate `scenarios`), print, or parse a command
//! line.

mod adopt;
pub mod detect;
pub mod error;
pub mod expect;
pub mod fleet;
pub mod host;
pub mod kill;
pub mod param;
pub(crate) mod process_events;
pub mod requirements;
pub(crate) mod tracepoint;
pub mod trial;
pub(crate) mod users;

pub(crate) use allgone::proc;
pub use allgone::{MonoNs, cgroup, sys};
pub use error::{SysError, Target};
pub use harness_record as record;
