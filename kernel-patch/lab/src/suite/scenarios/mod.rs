//! Runs of `scenario` in a machine: what became of each row, and how that compares with the list of
//! rows that are known to differ.

mod known;
mod result;
mod run;

pub use known::{Known, read as read_known};
pub use result::{Differs, Missing, Outcome, SCHEMA, read_all, table};
pub use run::{Row, Run};
