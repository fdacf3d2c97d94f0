//! One trial: site, arm, spawn, attach, wait, decide, prove, clean, record.
//!
//! The harness (the calling process) makes the site and is the oracle; a forked *observer* holds
//! detector and strategy; two *guards* stand by in case the harness dies ([`Protection`]). [`Run`]
//! plays trials one after another. `play` (and, from the verdict on, `ending`) is the harness's
//! side of one trial, `observer` the observer's side.

mod broken;
mod canary;
mod conclude;
mod ending;
mod error;
mod guard;
mod idle;
mod judge;
mod leaks;
mod limits;
mod observer;
mod oom;
mod oracle;
mod others;
mod pin;
mod plan;
mod play;
mod protection;
mod reaper;
mod run;
mod site;
mod spec;
mod startable;
mod trace;
pub(crate) mod users;

pub(crate) use observer::cpu_time;
use pin::only;

pub use error::TrialError;
pub use leaks::LeakReport;
pub use limits::V1Limits;
pub use pin::pin;
pub use plan::{Gate, Root, SpawnError, SpawnPlan, Workload};
pub use protection::{Protection, Words};
pub use run::{Run, RunOptions};
pub use site::Site;
pub use spec::{Conditions, Expected, Limits, Stage, TrialSpec};
pub use users::ACTOR_UIDS;
