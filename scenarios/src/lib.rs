//! Hostile workloads, and the expectations for the mechanisms that watch or end them.
//!
//! A [`cases::Scenario`] writes a [`script::Script`]: a small program for a tree of processes. An
//! [`actor`] plays it, as a process that is this same executable, re-run. What each kind of
//! mechanism ought to say about it is stated per scope, never per mechanism: a scenario does not
//! know what watches it.
//!
//! Invariant: `cases` and `script` import nothing of `harness::detect` or `harness::kill`.

pub mod cases;
pub mod command;
mod context;
mod expectations;
pub mod formats;
pub mod script;
mod scripted;
pub mod visibility;
mod workload;

pub use actor;
pub use cases::{SCENARIOS, Scenario, ScenarioSpec, by_id};
pub use context::below_pid_1;
pub use expectations::expected;
pub use script::{Op, Script, ScriptError};
pub use scripted::Scripted;
pub use workload::workload;
