//! What a launcher has made for a run is gone when the run is over, and the adapter's `after`
//! commands have been run: helper processes, cgroups, mounts, files in `/tmp`, `/var/tmp`,
//! `/dev/shm` and (empty directories excepted) `/run`, and System V objects. What the payload
//! itself leaves does not count.
//!
//! Level 0: the payload is one process, which ends by itself (`end`), at the time limit (`limit`,
//! where there is one), and by `SIGTERM` to the launcher (`term`). Half a second after the launcher
//! has returned, or two seconds after the signal, the lists are compared with those from before.
//! For a launcher that is killed see `kill`.
//!
//! What it could not see: abstract sockets, keys, and what lies outside of these directories.

use nix::sys::signal::Signal;

use super::trees::TREES;
use super::{Judged, Plan, Promise, there};
use crate::adapter::Adapter;
use crate::trial::{Act, Case, Seen, Way};

/// `residue`.
#[derive(Debug)]
pub(super) struct Residue;

impl Promise for Residue {
    fn id(&self) -> &'static str {
        "residue"
    }

    fn summary(&self) -> &'static str {
        "nothing that the launcher has made is left after a run"
    }

    fn source(&self) -> &'static str {
        include_str!("residue.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let mut all = Vec::new();
        for tree in TREES.iter().filter(|tree| tree.name == "alone") {
            let case = |name: &str| Case {
                patience_ms: 2_000 + plan.adapter.grace_ms,
                settle_ms: 500,
                ..Case::new(format!("residue/{name}"), 0, tree.staying())
            };
            all.push(Case {
                payload: tree.ending(""),
                ..case("end")
            });
            if plan.adapter.limit.is_some() {
                all.push(Case {
                    way: Way::Limit(300),
                    ..case("limit")
                });
            }
            all.push(Case {
                act: Act::Signal {
                    number: Signal::SIGTERM as i32,
                    after_us: 10_000,
                    group: false,
                },
                ..case("term")
            });
        }
        let once = all.len();
        all.into_iter()
            .cycle()
            .take(once * plan.runs.div_ceil(3) as usize)
            .collect()
    }

    fn judge(&self, _: &Case, seen: &Seen, _: &Adapter) -> Judged {
        if let Err(judged) = there(seen) {
            return judged;
        }
        if seen.returned.is_none() {
            return Judged::Skipped(
                "the launcher did not return: see `term` and `limit`".to_owned(),
            );
        }
        match &seen.residue[..] {
            [] => Judged::Kept,
            left => Judged::Broken(format!("left: {}", left.join(", "))),
        }
    }
}
