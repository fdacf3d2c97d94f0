//! What a plan leaves out because it cannot be run here, or says nothing.

use serde::Serialize;

/// A pair that is not run, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Skip {
    /// The detector or strategy.
    pub mechanism: String,
    /// The scenario; absent if the mechanism cannot be run at all.
    pub scenario: Option<String>,
    /// Why.
    pub why: String,
    /// What would change that; absent if nothing would.
    pub remedy: Option<String>,
    /// How many rows that is, at one point of the axes. With those of the plan they are every
    /// mechanism on every scenario.
    pub rows: usize,
}

/// Sorted, and each but once: what is missing in both planes is said once, with all its rows.
pub(super) fn merged(mut skipped: Vec<Skip>) -> Vec<Skip> {
    skipped.sort();
    skipped.dedup_by(|again, first| {
        let words = |skip: &Skip| Skip {
            rows: 0,
            ..skip.clone()
        };
        let same = words(again) == words(first);
        first.rows += if same { again.rows } else { 0 };
        same
    });
    skipped
}
