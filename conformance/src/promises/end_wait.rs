//! The main process of the payload starts others, says "ready" when all are there, and exits with
//! code 7. The others live for 600 ms more and end by themselves. The launcher has to return within
//! 5 s, not before those 600 ms are over (50 ms are allowed for), with nothing of the payload
//! alive, and with the status of the main process: exit code 7.
//!
//! Trees: level 0 `child`; 1 `daemon` and `no-descriptors`; 2 `no-environment`, `deaf` and
//! `leaderless`; 3 `namespace`; 4 `cgroup`. Each is played once in a run of the suite.

use super::trees::TREES;
use super::{Judged, Plan, Promise, idle, there};
use crate::adapter::Adapter;
use crate::payload::DONE;
use crate::trial::{Case, Seen};

const TAIL_US: u64 = 550_000;

/// `end-wait`.
#[derive(Debug)]
pub(super) struct EndWait;

impl Promise for EndWait {
    fn id(&self) -> &'static str {
        "end-wait"
    }

    fn summary(&self) -> &'static str {
        "the launcher waits for the last process, and reports the status of the main one"
    }

    fn source(&self) -> &'static str {
        include_str!("end_wait.rs")
    }

    fn cases(&self, _: &mut Plan<'_>) -> Vec<Case> {
        let trees = TREES
            .iter()
            .filter(|tree| tree.name != "alone" && tree.ends);
        trees
            .map(|tree| {
                let id = format!("end-wait/{}", tree.name);
                Case::new(id, tree.level, tree.ending("live 600ms"))
            })
            .collect()
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        if let Err(judged) = there(seen) {
            return judged;
        }
        let Some(returned) = seen.returned else {
            return Judged::Broken(format!("it had not returned after {} ms", case.patience_ms));
        };
        let judged = idle(seen.at_return.as_ref(), "when it had returned", seen);
        if judged != Judged::Kept {
            return judged;
        }
        if returned.after_us < TAIL_US {
            return Judged::Broken(format!(
                "it returned {} ms after \"ready\", when others had 600 ms to live: it ended them",
                returned.after_us / 1_000
            ));
        }
        match returned.code {
            Some(code) if code == i32::from(DONE) => Judged::Kept,
            _ => Judged::Broken(format!("{returned} instead of 7, the main process's")),
        }
    }
}
