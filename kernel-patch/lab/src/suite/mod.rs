//! What runs inside the machines, what comes out, and how it is judged: answers of `lab-probe`,
//! records of them, tables, a plot.

pub mod answers;
pub mod plot;
pub mod record;
pub mod selftests;
pub mod stats;
pub mod table;
