//! The same file through io_uring: one `IORING_OP_POLL_ADD` per wait.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::common::probe;
use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::iouring::Ring;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::detect::{Level, entered};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// A one-shot poll of `cgroup.events` for `POLLPRI`, submitted anew after every read.
#[derive(Debug)]
pub(super) struct CgroupEventsIoUring;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-events-io-uring",
    summary: "Polls cgroup.events through io_uring (POLL_ADD, POLLPRI) and reads populated after \
        every completion.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(2),
    since: KernelVersion(5, 11),
    privilege: "none, unless kernel.io_uring_disabled or seccomp forbids io_uring",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: allgone::detect::RATE_LIMIT,
    idle_cost: "nothing",
    overflow: "cannot: one operation is outstanding, and the state is read again",
    loses_on_removal: true,
    sources: &[
        "io_uring_enter(2): IORING_OP_POLL_ADD",
        "fs/kernfs/file.c: kernfs_generic_poll()",
    ],
    axes: &[],
};

/// Support, from an attempt to make a ring.
pub(super) fn ring_support(ring: Result<Ring, Errno>) -> Result<Support, ProbeError> {
    probe::tried("io_uring_setup", ring, |errno| match errno {
        Errno::ENOSYS | Errno::EOPNOTSUPP => Some("Linux 5.11 or later with CONFIG_IO_URING"),
        Errno::EPERM | Errno::EACCES => {
            Some("kernel.io_uring_disabled = 0, and a seccomp policy that allows io_uring")
        }
        _ => None,
    })
}

impl BlockingDetector for CgroupEventsIoUring {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match ring_support(Ring::new())? {
            Support::Available => probe::events(host),
            missing @ Support::Missing { .. } => Ok(missing),
        }
    }

    fn arm(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Polling {
            ring: Ring::new()
                .map_err(|e| limit::descriptor(SysError::plain("io_uring_setup", e)))?,
            level: Level::open(set.cgroup())?,
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Polling {
    // The ring goes first: a pending operation ends before the file is closed.
    ring: Ring,
    level: Level,
    counters: Counters,
}

impl BlockingWatch for Polling {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let fail = |e| SysError::plain("io_uring_enter", e);
        let mut woke = now();
        loop {
            // The poll compares with the last read, so what changes between read and submission
            // completes it at once.
            if let Some(verdict) = self.level.look(woke, &mut self.counters) {
                return Ok(verdict);
            }
            self.ring
                .submit_poll(self.level.events.as_fd(), PollFlags::POLLPRI)
                .map_err(fail)?;
            match self.ring.wait(deadline).map_err(fail)? {
                Some(Ok(_)) => woke = now(),
                Some(Err(e)) => {
                    let why = SysError::plain("poll cgroup.events", e);
                    return Ok(Verdict::unknown(why));
                }
                None => return Ok(Verdict::deadline()),
            }
            self.counters.wakeups += 1;
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        Counters {
            spurious: self.counters.wakeups.saturating_sub(1),
            ..self.counters
        }
    }
}
