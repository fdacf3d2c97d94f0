//! From recorded trials to what may be said of them: tables, plots, one page, and the figures in
//! the findings.
//!
//! Reads records only ([`harness_record`] is all that it shares with the program that makes them),
//! and knows no scenario: what is recorded shows up. Everything between reading and writing is
//! pure, so a committed report can be computed again and compared byte by byte ([`check`]).

pub mod analysis;
pub mod artefacts;
pub mod check;
pub mod command;
pub mod emulated;
pub mod figures;
pub mod render;
pub mod splice;
pub mod stats;
pub mod store;
pub mod summary;
pub mod text;
