//! When the payload has said "ready", the adapter's `stop` command is run, and has to end. Within
//! two seconds and the grace period the launcher has returned, and a second later nothing of the
//! payload lives.
//!
//! Trees and levels are those of `limit`, without `pipe`. Each is played once in a run of the
//! suite.

use super::trees::TREES;
use super::{Judged, Plan, Promise, over};
use crate::adapter::Adapter;
use crate::trial::{Act, Case, Seen};

/// `stop`.
#[derive(Debug)]
pub(super) struct Stop;

impl Promise for Stop {
    fn id(&self) -> &'static str {
        "stop"
    }

    fn summary(&self) -> &'static str {
        "the launcher's own way to stop a run ends everything"
    }

    fn source(&self) -> &'static str {
        include_str!("stop.rs")
    }

    fn lacks(&self, adapter: &Adapter) -> Option<&'static str> {
        adapter
            .stop
            .is_none()
            .then_some("it has no command that stops a run")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let case = |tree: &super::trees::Tree| Case {
            act: Act::Stop,
            patience_ms: 2_000 + plan.adapter.grace_ms,
            settle_ms: 1_000,
            ..Case::new(format!("stop/{}", tree.name), tree.level, tree.staying())
        };
        TREES.iter().map(case).collect()
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        over(case, seen)
    }
}
