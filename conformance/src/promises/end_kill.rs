//! The main process of the payload starts others, says "ready" when all are there, and exits with
//! code 7. The others would live for 30 s. The launcher has to return by itself within 5 s.
//!
//! `end-kill`: when it has returned, nothing of the payload lives: the lease on the payload is
//! granted right then. `end-kill-later`: it is granted one second after that. A launcher that keeps
//! the second and not the first has issued a kill, and returned before everything was dead.
//!
//! Trees: level 0 `child`; 1 `daemon` and `no-descriptors`; 2 `no-environment`, `deaf`, `stopped`,
//! `leaderless` and `hopper`; 3 `namespace`; 4 `cgroup`. Each is played three times; with
//! `--thorough` 300 times at level 0 and 30 times above.
//!
//! What it could not see: a process that dies in the tens of microseconds between the launcher's
//! end and the look. So a launcher that returns early by less than that is taken to keep it.

use super::trees::TREES;
use super::{Judged, Plan, Promise, idle, there};
use crate::adapter::Adapter;
use crate::trial::{Case, Seen};

/// `end-kill`.
#[derive(Debug)]
pub(super) struct EndKill;

/// `end-kill-later`.
#[derive(Debug)]
pub(super) struct EndKillLater;

fn cases(id: &str, runs: impl Fn(u8) -> u32) -> Vec<Case> {
    let mut all = Vec::new();
    for tree in TREES.iter().filter(|tree| tree.name != "alone") {
        let case = Case::new(
            format!("{id}/{}", tree.name),
            tree.level,
            tree.ending("live 30s"),
        );
        all.extend((0..runs(tree.level)).map(|_| case.clone()));
    }
    all
}

impl Promise for EndKill {
    fn id(&self) -> &'static str {
        "end-kill"
    }

    fn summary(&self) -> &'static str {
        "when the main process ends the rest is killed, and dead when the launcher returns"
    }

    fn source(&self) -> &'static str {
        include_str!("end_kill.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let (runs, thorough) = (plan.runs, plan.thorough);
        cases(self.id(), |level| match (thorough, level) {
            (true, 0) => 100 * runs,
            (true, _) => 10 * runs,
            (false, _) => runs,
        })
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        if let Err(judged) = there(seen) {
            return judged;
        }
        match seen.returned {
            None => Judged::Broken(format!("it had not returned after {} ms", case.patience_ms)),
            Some(_) => idle(seen.at_return.as_ref(), "when it had returned", seen),
        }
    }
}

impl Promise for EndKillLater {
    fn id(&self) -> &'static str {
        "end-kill-later"
    }

    fn summary(&self) -> &'static str {
        "when the main process ends the rest is killed, and dead a second after that"
    }

    fn source(&self) -> &'static str {
        include_str!("end_kill.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let runs = plan.runs.div_ceil(3);
        cases(self.id(), |_| runs)
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        if let Err(judged) = there(seen) {
            return judged;
        }
        match seen.returned {
            None => Judged::Broken(format!("it had not returned after {} ms", case.patience_ms)),
            Some(_) => idle(
                seen.settled.as_ref(),
                "a second after it had returned",
                seen,
            ),
        }
    }
}
