//! The programs inside the machines, their results, and the judgement of these: answers of
//! `lab-probe`, records of them, tables, a plot.

pub mod answers;
pub mod plot;
pub mod record;
pub mod scenarios;
pub mod selftests;
pub mod stats;
pub mod table;
