//! The suite, by launchers that are broken on purpose: each gets the score that it deserves.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the whole program is a test"
)]

mod again;
mod broken;
mod contexts;
mod killed;
mod mistakes;
mod results;
mod support;
