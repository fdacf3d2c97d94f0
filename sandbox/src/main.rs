//! The command `allgone`.
#![no_main]

allgone::sys::entry!(sandbox::command::main);
