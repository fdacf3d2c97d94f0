//! The command `allgone run` with real processes.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the whole program is a test"
)]

mod cgroup;
mod closed;
mod container;
mod crash;
mod ends;
mod limits;
mod mistakes;
mod points;
mod refusals;
mod schema;
mod start;
mod support;
mod terminal;
mod tmux;
mod traced;
