//! Trees of hostile processes: a small language for them, and the program that plays it.
//!
//! A [`Script`] says what each process of a tree does. It is written as text ([`text`]) or handed
//! over as JSON; [`script::model`] says what follows from it without a process. The program `actor`
//! plays it ([`main`]), and so does any program that calls [`main_if_actor`] first of all and is
//! started again with the `argv[0]` [`NAME`]: then nothing has to be located on disk.
//!
//! Invariant: from the first operation on, an actor allocates nothing, takes no lock, logs nothing
//! and does not unwind. So its trees can be killed at any instruction, and what is measured is the
//! kernel. A test with an allocator that ends the process checks this.

mod play;
pub mod script;
mod start;
pub mod text;

pub use play::REFUSED;
pub use script::{Op, Script, ScriptError};
pub use start::{
    NAME, NO_CGROUP, NO_LEDGER, NO_READY, NO_SCRIPT, USAGE, main, main_if_actor, playing,
    understands,
};
