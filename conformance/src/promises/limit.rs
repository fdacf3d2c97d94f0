//! The launcher is told to run the payload for one second at most. The payload would live for 30 s.
//! From "ready" on, the launcher returns within one second, the adapter's grace period, and one
//! second more; then nothing of the payload lives, and it says that the limit was reached: by one
//! of the adapter's codes, if it names any. (The clock of the launcher began before "ready".)
//!
//! Trees: level 0 `alone` and `child`; 1 `daemon`, `no-descriptors`, and `pipe`, in which a daemon
//! holds the pipe that the launcher's output is read from; 2 `no-environment`, `deaf`, `stopped`,
//! `leaderless` and `hopper`; 3 `namespace`; 4 `cgroup`. Each is played once in a run of the suite.

use super::trees::TREES;
use super::{Judged, Plan, Promise, over};
use crate::adapter::Adapter;
use crate::trial::{Case, Seen, Stream, Way};

const LIMIT_MS: u64 = 1_000;
const SLACK_MS: u64 = 1_000;

/// `limit`.
#[derive(Debug)]
pub(super) struct Limit;

impl Promise for Limit {
    fn id(&self) -> &'static str {
        "limit"
    }

    fn summary(&self) -> &'static str {
        "at the time limit everything is ended, the launcher returns, and says why"
    }

    fn source(&self) -> &'static str {
        include_str!("limit.rs")
    }

    fn lacks(&self, adapter: &Adapter) -> Option<&'static str> {
        adapter.limit.is_none().then_some("it has no time limit")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let mut all = Vec::new();
        for tree in &TREES {
            let case = Case {
                way: Way::Limit(LIMIT_MS),
                patience_ms: LIMIT_MS + plan.adapter.grace_ms + SLACK_MS,
                settle_ms: 0,
                ..Case::new(format!("limit/{}", tree.name), tree.level, tree.staying())
            };
            if tree.name == "daemon" {
                all.push(Case {
                    id: "limit/pipe".to_owned(),
                    output: Stream::Pipe,
                    ..case.clone()
                });
            }
            all.push(case);
        }
        all
    }

    fn judge(&self, case: &Case, seen: &Seen, adapter: &Adapter) -> Judged {
        match over(case, seen) {
            Judged::Kept => says(seen, adapter),
            judged => judged,
        }
    }
}

/// Whether it says that the limit was reached.
pub(super) fn says(seen: &Seen, adapter: &Adapter) -> Judged {
    let Some(returned) = seen.returned else {
        return Judged::Unknown("it did not return".to_owned());
    };
    let known = adapter.timed_out.is_empty()
        || returned
            .code
            .is_some_and(|code| adapter.timed_out.contains(&code));
    match known {
        true => Judged::Kept,
        false => Judged::Broken(format!(
            "it does not say that the limit was reached: {returned}"
        )),
    }
}
