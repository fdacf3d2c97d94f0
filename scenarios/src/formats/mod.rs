//! Test results in the formats that other programs read, and the table for people.

pub mod junit;
pub mod ktap;
pub mod table;

/// Tests that belong together.
#[derive(Debug, PartialEq, Eq)]
pub struct Suite {
    /// What they are about.
    pub name: String,
    /// The tests. Never empty.
    pub cases: Vec<Case>,
}

/// One test.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name, unique in its suite.
    pub name: String,
    /// Its result.
    pub result: Ended,
}

/// How a test ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// As expected.
    Passed,
    /// Not as expected, or without a valid result; line by line.
    Failed(Vec<String>),
    /// It was not run, for this reason.
    Skipped(String),
}
