//! The launcher: starts a program, knows when all of it is over, ends all of it, proves it.
//!
//! [`launch`] is for a program of any size, with any number of threads, that wants this for what it
//! starts. [`run::run`] is a whole run of the command `allgone`, a process of its own with one
//! thread, and blocks its signals.

pub mod closed;
pub mod command;
mod control;
pub mod duration;
pub mod end;
pub mod error;
mod events;
pub mod grouplimits;
pub mod help;
pub mod launch;
pub mod opt;
pub mod options;
pub mod place;
pub mod plan;
pub mod report;
pub mod run;
mod strays;
mod systemd;
pub mod tier;
pub mod timeout;
mod userrange;
mod watch;
mod words;
