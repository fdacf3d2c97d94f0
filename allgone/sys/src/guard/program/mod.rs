//! The guard's program, as the library sees it: all of it but `main.rs`, which is the program's
//! entry. Compiled here so that it is checked, tested, and can be run by a fork where no program
//! can be executed.

use super::wire;
use crate::bare::{call, raw, tree};
use crate::sched::attr;
use crate::spawn::step;

mod channel;
mod child;
pub(super) mod ground;
mod jobs;
mod oom;
mod poll;
pub(super) mod process;
mod prompt;
mod second;
pub(super) mod serve;
