//! The launcher alone is sent `SIGINT` 20 ms after the payload has said "ready". Within two
//! seconds, and the adapter's grace period, the launcher has returned, and a second later nothing
//! of the payload lives: the lease on the payload is granted. Two of the trees are played once more
//! with the signal to the launcher's process group, which it leads, as a terminal sends it.
//!
//! Each tree is played once: level 0 `alone` and `child`; 1 `daemon` and `no-descriptors`; 2
//! `no-environment`, `deaf`, `stopped`, `leaderless` and `hopper`; 3 `namespace`; 4 `cgroup`.
//!
//! Not tested: how it returns. Some programs end by the signal, some with 128 and its number.

use nix::sys::signal::Signal;

use super::{Judged, Plan, Promise, signals};
use crate::adapter::Adapter;
use crate::trial::{Case, Seen};

/// `int`.
#[derive(Debug)]
pub(super) struct Int;

impl Promise for Int {
    fn id(&self) -> &'static str {
        "int"
    }

    fn summary(&self) -> &'static str {
        "after SIGINT to the launcher, everything that it started has ended"
    }

    fn source(&self) -> &'static str {
        include_str!("int.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        signals::cases(self.id(), Signal::SIGINT, plan)
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        signals::judge(case, seen)
    }
}
