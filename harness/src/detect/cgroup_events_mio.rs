//! The same file in an event loop: mio, which is always edge-triggered.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::detect::{Level, entered};
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `Interest::PRIORITY` on `cgroup.events`. Edge-triggered: an edge before the registration is
/// never reported, so the state is read after registering and after every wake-up.
#[derive(Debug)]
pub(super) struct CgroupEventsMio;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-events-mio",
    summary: "Registers cgroup.events with mio (PRIORITY, edge-triggered) and reads populated at \
        registration and after every wake-up.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(2),
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: allgone::detect::RATE_LIMIT,
    idle_cost: "nothing",
    overflow: "cannot: edges merge, and the state is read again",
    loses_on_removal: true,
    sources: &[
        "epoll(7)",
        "mio: sys/unix/selector/epoll.rs",
        "fs/kernfs/file.c: kernfs_generic_poll()",
    ],
    axes: &[],
};

impl Detector for CgroupEventsMio {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::events(host)
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        let fail = |op: &'static str| {
            move |e: std::io::Error| limit::descriptor(SysError::plain(op, limit::errno_of(&e)))
        };
        let level = Level::open(set.cgroup())?;
        let poll = Poll::new().map_err(fail("epoll_create1"))?;
        poll.registry()
            .register(
                &mut SourceFd(&level.events.as_fd().as_raw_fd()),
                Token(0),
                Interest::PRIORITY,
            )
            .map_err(fail("epoll_ctl"))?;
        Ok(Box::new(Looping {
            poll,
            ready: Events::with_capacity(4),
            level,
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Looping {
    poll: Poll,
    ready: Events,
    level: Level,
    tally: Tally,
}

impl Watch for Looping {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().readable(self.poll.registry())
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let woken = self.tally.has_looked();
        let counters = self.tally.check();
        if woken {
            // Takes the event, which is told once.
            sleep(&mut self.poll, &mut self.ready, Duration::ZERO)?;
        }
        Ok(Progress::of(self.level.look(now, counters)))
    }

    /// The loop of mio is the mechanism.
    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let mut woke = now();
        loop {
            if let Some(verdict) = self.level.look(woke, self.tally.check()) {
                return Ok(verdict);
            }
            sleep(&mut self.poll, &mut self.ready, deadline.remaining())?;
            woke = now();
            if self.ready.is_empty() && woke >= deadline {
                return Ok(Verdict::deadline());
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}

/// An interruption ends it early.
fn sleep(poll: &mut Poll, ready: &mut Events, time: Duration) -> Result<(), SysError> {
    match poll.poll(ready, Some(time)) {
        Err(e) if e.kind() != std::io::ErrorKind::Interrupted => {
            Err(SysError::plain("epoll_wait", limit::errno_of(&e)))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
