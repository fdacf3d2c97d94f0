//! One honest trial: site, arm, spawn, attach, wait, decide, prove, clean, record.

mod plan;
mod site;
mod spec;

pub use plan::{Gate, Root, SpawnError, SpawnPlan, Workload};
pub use site::{Site, V1Belts};
pub use spec::{Expected, Limits, Stage, TrialSpec};
