//! From recorded trials to tables, plots, one page, and the figures in the findings.
//!
//! It reads records only (it shares just [`harness_record`] with the program that makes them), and
//! knows no scenario: everything that is recorded shows up. Everything between reading and writing
//! is pure, so a committed report can be computed again and compared byte by byte ([`check`]).

pub mod analysis;
pub mod answers;
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
