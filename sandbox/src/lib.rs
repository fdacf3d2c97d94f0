//! The launcher: starts a program, knows when all of it is over, ends all of it, proves it.
//!
//! [`run::run`] is a whole run. The library is for the command `allgone`, a process of its own with
//! one thread, and blocks its signals; a program that wants the same for its own children uses the
//! crate `allgone`.

pub mod duration;
pub mod end;
pub mod error;
mod events;
pub mod grouplimits;
pub mod help;
pub mod options;
pub mod place;
pub mod plan;
pub mod report;
pub mod run;
mod strays;
pub mod tier;
pub mod timeout;
mod watch;
mod words;
