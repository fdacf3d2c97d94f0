//! One trial: site, arm, spawn, attach, wait, decide, prove, clean, record.
//!
//! The harness (the calling process) makes the site and is the oracle; a forked *observer* holds
//! detector and strategy; two *guards* stand by in case the harness dies ([`Protection`]). [`Run`]
//! runs trials one after another. On the harness's side a trial has five phases, each of which
//! consumes the one before: `prepare`, `observe`, `settle`, `conclude`, `clean`. `observer` is the
//! observer's side.

mod beside;
mod broken;
mod canary;
mod clean;
mod conclude;
mod error;
mod guard;
mod idle;
mod judge;
mod killing;
mod leaks;
mod limits;
mod messages;
mod objects;
mod observe;
mod observer;
mod oom;
mod oracle;
mod others;
mod pin;
mod plan;
mod prepare;
mod program;
mod protection;
mod reaper;
mod run;
mod settle;
mod setuid;
mod site;
mod spec;
mod start;
mod startable;
mod throttle;
mod trace;
pub(crate) mod users;
mod watch;

pub(crate) use observer::cpu_time;
use pin::only;

pub use error::TrialError;
pub use leaks::LeakReport;
pub use pin::pin;
pub use plan::{Gate, Root, SpawnError, SpawnPlan, Workload};
pub use program::Program;
pub use protection::{Protection, Words};
pub use run::{Run, RunOptions};
pub use site::Site;
pub use spec::{Beside, Conditions, Expected, Limits, Stage, TrialSpec};
pub use users::ACTOR_UIDS;
