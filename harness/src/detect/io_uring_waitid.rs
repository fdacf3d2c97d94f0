//! Wait for the main process through io_uring: `IORING_OP_WAITID`.

use super::cgroup_events_io_uring::ring_support;
use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::iouring::Ring;
use crate::sys::time::now;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::effects::{Effects, Reaps};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// waitid(2) as an asynchronous operation, so that one loop can wait for children and files alike
/// without a pidfd for each.
#[derive(Debug)]
pub(super) struct IoUringWaitid;

static SPEC: DetectorSpec = DetectorSpec {
    id: "io-uring-waitid",
    summary: "Submits waitid for the main process to io_uring and sleeps for its completion.",
    scope: Scope::Main,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects {
        reaps: Reaps::Main,
        ..Effects::descriptors(1)
    },
    since: KernelVersion(6, 7),
    privilege: "none, unless kernel.io_uring_disabled or seccomp forbids io_uring",
    escapes: "every other process: whatever the main process leaves behind when it ends",
    early: "whenever the main process is not the last one",
    late: "one wake-up, plus the task work that completes the operation",
    idle_cost: "nothing",
    overflow: "cannot: one operation is outstanding",
    loses_on_removal: false,
    sources: &[
        "io_uring_enter(2)",
        "io_uring/waitid.c (f31ecf671ddc, Linux 6.7)",
    ],
    axes: &[],
};

impl BlockingDetector for IoUringWaitid {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        let ring = Ring::new();
        match &ring {
            Ok(ring)
                if !ring
                    .knows_waitid()
                    .map_err(|e| SysError::plain("io_uring_register", e))? =>
            {
                Ok(Support::missing(
                    "this io_uring has no waitid",
                    "Linux 6.7 or later",
                ))
            }
            _ => ring_support(ring),
        }
    }

    fn arm(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Waiting {
            ring: Ring::new()
                .map_err(|e| limit::descriptor(SysError::plain("io_uring_setup", e)))?,
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Waiting {
    ring: Ring,
    counters: Counters,
}

impl BlockingWatch for Waiting {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        self.ring
            .submit_waitid(child.pid)
            .map_err(|e| SysError::pid("submit waitid", child.pid.as_raw(), e).into())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let completed = self
            .ring
            .wait(deadline)
            .map_err(|e| SysError::plain("io_uring_enter", e))?;
        let woke = now();
        match completed {
            Some(Ok(_)) => {
                self.counters.wakeups += 1;
                self.counters.reaped += 1;
                Ok(Verdict::empty(woke))
            }
            // ECHILD: something else has reaped it.
            Some(Err(e)) => Ok(Verdict::unknown(SysError::plain("waitid", e))),
            None => Ok(Verdict::deadline()),
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
