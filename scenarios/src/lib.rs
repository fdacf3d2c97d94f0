//! Hostile workloads, and what is to be expected of whoever watches or ends them.
//!
//! A [`cases::Scenario`] writes a [`script::Script`]: a small program for a tree of processes. The
//! [`actor`] plays it, as a process that is this same executable, re-run. What each kind of
//! mechanism ought to say about it is stated per scope, never per mechanism: a scenario does not
//! know who watches it.
//!
//! Invariant: `cases` and `script` import nothing of `harness::detect` or `harness::kill`.

pub mod actor;
pub mod cases;
pub mod command;
mod expectations;
pub mod script;
pub mod visibility;

pub use actor::workload;
pub use cases::{SCENARIOS, Scenario, ScenarioSpec, by_id};
pub use expectations::expected;
pub use script::{Op, Script, ScriptError};
