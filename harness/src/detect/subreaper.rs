//! Become the parent of every orphan of the tree, and reap until no child is left.

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;

use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::adopt;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::alarm::Alarm;
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid};
use allgone::ProcessSet;
use allgone::effects::{Effects, Reaps};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `PR_SET_CHILD_SUBREAPER`, then `waitid(P_ALL)` with `__WALL` until it answers `ECHILD`.
///
/// It reaps *all* children of the process that uses it, so that process must have no others.
#[derive(Debug)]
pub(super) struct Subreaper;

static SPEC: DetectorSpec = DetectorSpec {
    id: "subreaper",
    summary: "Adopts the tree's orphans (PR_SET_CHILD_SUBREAPER) and reaps until waitid(2) says \
        ECHILD.",
    scope: Scope::ReapedDescendants,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects {
        subreaper: true,
        timer: true,
        signal_handler: true,
        reaps: Reaps::AnyChild,
        ..Effects::NONE
    },
    since: KernelVersion(3, 4),
    privilege: "",
    escapes: "what is not a descendant: a process moved into the cgroup, or an orphan of a \
        process that entered a PID namespace with an init outside the tree (setns, privileged)",
    early: "",
    late: "wakes once per process that ends; the last wake-up is as fast as waitpid",
    idle_cost: "nothing",
    overflow: "cannot: zombies keep the state until they are read",
    loses_on_removal: false,
    sources: &[
        "PR_SET_CHILD_SUBREAPER(2const)",
        "waitid(2)",
        "kernel/exit.c: find_new_reaper()",
    ],
    axes: &[],
};

impl BlockingDetector for Subreaper {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        adopt::Subreaper::probe()
    }

    fn arm(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Reaping {
            _adopts: adopt::Subreaper::become_one()?,
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Reaping {
    _adopts: adopt::Subreaper,
    counters: Counters,
}

impl BlockingWatch for Reaping {
    fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let _alarm = Alarm::at(deadline)?;
        let mut woke = now();
        loop {
            match waitid(Whose::Any, WaitPidFlag::WEXITED | WaitPidFlag::__WALL) {
                Ok(_) => {
                    woke = now();
                    self.counters.wakeups += 1;
                    self.counters.reaped += 1;
                    // In a tree that forks without end there is always a child, and waitid may not
                    // sleep for the next one.
                    if woke >= deadline {
                        return Ok(Verdict::deadline());
                    }
                }
                Err(Errno::ECHILD) => return Ok(Verdict::empty(woke)),
                Err(Errno::EINTR) if deadline.has_passed() => return Ok(Verdict::deadline()),
                Err(Errno::EINTR) => self.counters.spurious += 1,
                Err(e) => {
                    let why = SysError::plain("wait for any child", e);
                    return Ok(Verdict::unknown(why));
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
