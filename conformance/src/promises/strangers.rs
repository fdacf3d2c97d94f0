//! Processes that are not of the run are alive after it: the leader of the launcher's process
//! group, or (where the launcher leads one) a process that has joined its group as the next program
//! of a pipeline does; a process of the same session, user and environment; and one of the same
//! cgroup.
//!
//! Level 0: the run ends by itself, by the time limit (where there is one), by `SIGTERM` to the
//! launcher, and by `SIGKILL` to it; with the launcher in another process's group and leading its
//! own. The payload is a main process with a child.

use nix::sys::signal::Signal;

use super::trees::TREES;
use super::{Judged, Plan, Promise, there};
use crate::adapter::Adapter;
use crate::trial::{Act, Case, Seen, Way};

/// `strangers`.
#[derive(Debug)]
pub(super) struct Strangers;

impl Promise for Strangers {
    fn id(&self) -> &'static str {
        "strangers"
    }

    fn summary(&self) -> &'static str {
        "no process is hit that is not of the run"
    }

    fn source(&self) -> &'static str {
        include_str!("strangers.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let mut all = Vec::new();
        for tree in TREES.iter().filter(|tree| tree.name == "child") {
            for leads in [false, true] {
                let who = if leads { "leading" } else { "in-group" };
                let case = |name: &str| Case {
                    leads,
                    strangers: true,
                    patience_ms: 2_000 + plan.adapter.grace_ms,
                    settle_ms: 200,
                    ..Case::new(format!("strangers/{name}-{who}"), 0, tree.staying())
                };
                let signal = |signal: Signal| Act::Signal {
                    number: signal as i32,
                    after_us: 10_000,
                    group: false,
                };
                all.push(Case {
                    payload: tree.ending("live 100ms"),
                    ..case("end")
                });
                if plan.adapter.limit.is_some() {
                    all.push(Case {
                        way: Way::Limit(300),
                        ..case("limit")
                    });
                }
                all.push(Case {
                    act: signal(Signal::SIGTERM),
                    ..case("term")
                });
                all.push(Case {
                    act: signal(Signal::SIGKILL),
                    ..case("kill")
                });
            }
        }
        all
    }

    fn judge(&self, _: &Case, seen: &Seen, _: &Adapter) -> Judged {
        if let Err(judged) = there(seen) {
            return judged;
        }
        match &seen.hit[..] {
            [] => Judged::Kept,
            hit => Judged::Broken(format!("it ended {}", hit.join(", and "))),
        }
    }
}
