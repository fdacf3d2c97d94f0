//! What the promises about signals to the launcher have in common.

use nix::sys::signal::Signal;

use super::trees::TREES;
use super::{Judged, Plan, over};
use crate::trial::{Act, Case, Seen};

/// Each tree once for each run; and two of them with the signal to the launcher's whole group.
pub(super) fn cases(id: &str, signal: Signal, plan: &Plan<'_>) -> Vec<Case> {
    let act = |group| Act::Signal {
        number: signal as i32,
        after_us: 20_000,
        group,
    };
    let mut all = Vec::new();
    for tree in &TREES {
        let case = Case {
            act: act(false),
            patience_ms: 2_000 + plan.adapter.grace_ms,
            settle_ms: 1_000,
            ..Case::new(format!("{id}/{}", tree.name), tree.level, tree.staying())
        };
        if ["child", "daemon"].contains(&tree.name) {
            all.push(Case {
                id: format!("{id}/{}-group", tree.name),
                act: act(true),
                ..case.clone()
            });
        }
        all.push(case);
    }
    all
}

/// Returned, and nothing lives.
pub(super) fn judge(case: &Case, seen: &Seen) -> Judged {
    over(case, seen)
}
