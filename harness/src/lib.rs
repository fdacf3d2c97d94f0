//! The mechanisms under comparison, and the machinery of one honest trial.
//!
//! Two questions are asked of Linux: when is a tree of processes over, and how is it made to be
//! over? [`detect`] holds one file per answer to the first, [`kill`] one per answer to the second.
//! [`trial`] sets a workload off inside limits, lets one detector and at most one strategy at it,
//! and holds what they say against the truth. [`cgroup`] and [`host`] are what they stand on, and
//! [`mod@record`] is what remains.
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
pub mod requirements;
pub(crate) mod tracepoint;
pub mod trial;
pub(crate) mod users;

pub(crate) use allgone::proc;
pub use allgone::{MonoNs, cgroup, sys};
pub use error::{SysError, Target};
pub use harness_record as record;
