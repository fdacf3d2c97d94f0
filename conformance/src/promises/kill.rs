//! The launcher is killed (`SIGKILL`), at a random moment. One second later nothing of the payload
//! lives, and nothing of the launcher is left: no helper process, cgroup, mount, file or System V
//! object.
//!
//! Level 0 is played at 20 moments with the tree `child`: five between the launcher's start and the
//! time at which its payload is usually ready, the others up to 20 ms after "ready". Each tree of
//! the levels above is played at two moments after "ready" (trees: see `term`). At level 4 only
//! life counts, because the payload makes cgroups, too.

use nix::sys::signal::Signal;
use rand::RngExt;

use super::trees::TREES;
use super::{Judged, Plan, Promise, idle, there};
use crate::adapter::{Adapter, HIGHEST};
use crate::trial::{Act, Case, Seen};

/// `kill`.
#[derive(Debug)]
pub(super) struct Kill;

impl Promise for Kill {
    fn id(&self) -> &'static str {
        "kill"
    }

    fn summary(&self) -> &'static str {
        "if the launcher is killed, everything that it started is gone a second later"
    }

    fn source(&self) -> &'static str {
        include_str!("kill.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let mut all = Vec::new();
        for tree in TREES.iter().filter(|tree| tree.name != "alone") {
            let case = Case::new(format!("kill/{}", tree.name), tree.level, tree.staying());
            let (early, late) = match tree.level {
                0 => (5, 15),
                _ => (0, 2),
            };
            for _ in 0..early {
                let after_us = plan.random.random_range(0..plan.ready_us.max(1));
                all.push(Case {
                    id: format!("kill/{}-early", tree.name),
                    act: Act::KillEarly { after_us },
                    ..case.clone()
                });
            }
            for _ in 0..late {
                let after_us = plan.random.random_range(0..20_000);
                all.push(Case {
                    act: Act::Signal {
                        number: Signal::SIGKILL as i32,
                        after_us,
                        group: false,
                    },
                    ..case.clone()
                });
            }
        }
        all
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        if !matches!(case.act, Act::KillEarly { .. })
            && let Err(judged) = there(seen)
        {
            return judged;
        }
        let judged = idle(seen.settled.as_ref(), "a second after the kill", seen);
        // At level 4 the payload makes cgroups of its own, which cannot be told from others.
        match &seen.residue[..] {
            _ if case.level == HIGHEST => judged,
            [] => judged,
            left if judged == Judged::Kept => {
                Judged::Broken(format!("left after the kill: {}", left.join(", ")))
            }
            _ => judged,
        }
    }
}
