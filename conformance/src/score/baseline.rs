//! Scores compared with earlier ones.

use super::{Scores, Verdict};

/// What was kept before and is not now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The launcher.
    pub launcher: String,
    /// The promise.
    pub promise: String,
    /// The level.
    pub level: u8,
    /// The verdict now; `None`: it was not played.
    pub now: Option<Verdict>,
}

/// Every cell that was kept in `before` and is broken or unknown in `now`, or is not there although
/// its launcher is. A launcher that was not played, or is not in the baseline, is no regression;
/// nor is a promise that was not asked for.
pub fn regressions(before: &Scores, now: &Scores) -> Vec<Regression> {
    let mut all = Vec::new();
    for old in &before.launchers {
        let Some(new) = now
            .launchers
            .iter()
            .find(|new| new.launcher == old.launcher)
        else {
            continue;
        };
        for cell in old
            .cells
            .iter()
            .filter(|cell| cell.verdict == Verdict::Kept)
        {
            if !now.promises.contains(&cell.promise) {
                continue;
            }
            let found = new
                .cells
                .iter()
                .find(|other| other.promise == cell.promise && other.level == cell.level);
            let verdict = found.map(|cell| cell.verdict);
            if new.skipped.is_none() && verdict != Some(Verdict::Kept) {
                all.push(Regression {
                    launcher: old.launcher.clone(),
                    promise: cell.promise.clone(),
                    level: cell.level,
                    now: verdict,
                });
            }
        }
    }
    all
}
