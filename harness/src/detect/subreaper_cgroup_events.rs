//! Two sources: children that end wake the supervisor as fast as `waitpid`, and the cgroup says
//! whether any process is left.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::WaitPidFlag;

use super::common::inotify::Subscription;
use super::common::probe;
use super::common::removal;
use super::{Counters, DetectError, Detector, DetectorSpec, Wake, Watch};
use crate::MonoNs;
use crate::adopt;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::wait::{Whose, waitid};
use allgone::ProcessSet;
use allgone::detect::Backoff;
use allgone::detect::limit;
use allgone::detect::{Level, entered};
use allgone::detect::{Progress, Sources, Tally};
use allgone::effects::{Effects, Reaps};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// A subreaper that sleeps on `SIGCHLD` (signalfd), on `cgroup.events`, and on the removal of the
/// cgroup; `populated` decides.
///
/// Up to Linux 6.18 a process leaves the cgroup before its parent is told, so the first read after
/// the last child is final. Since 6.19 it leaves after, so there a few bounded re-reads follow.
/// What is in the cgroup without being a descendant is left to `cgroup.events`. Like `subreaper` it
/// reaps all children of the process that uses it, and it blocks `SIGCHLD` there.
#[derive(Debug)]
pub(super) struct SubreaperCgroupEvents;

static SPEC: DetectorSpec = DetectorSpec {
    id: "subreaper+cgroup-events",
    summary: "A subreaper woken by SIGCHLD reads populated after each child; cgroup.events catches \
        what is not a descendant.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects {
        subreaper: true,
        signal_mask: true,
        reaps: Reaps::AnyChild,
        ..Effects::descriptors(4)
    },
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "as fast as waitpid if the last process is a descendant (on 6.19 and later plus the time \
        until it leaves the cgroup, at most a few re-reads); as cgroup-events-poll if it is not",
    idle_cost: "nothing",
    overflow: "cannot: signals and events merge, zombies and populated keep the state",
    loses_on_removal: false,
    sources: &[
        "PR_SET_CHILD_SUBREAPER(2const)",
        "signalfd(2)",
        "cgroups(7)",
        "Linux d245698d727a (6.19: a task leaves its cgroup after exit_notify)",
    ],
    axes: &[],
};

impl Detector for SubreaperCgroupEvents {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| {
            probe::armed(Level::open(site).and_then(|_| removal::watch(site)))
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        let adopts = adopt::Subreaper::become_one()?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()
            .map_err(|e| SysError::plain("block SIGCHLD", e))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let children = SignalFd::with_flags(&mask, flags)
            .map_err(|e| limit::descriptor(SysError::plain("signalfd", e)))?;
        Ok(Box::new(Supervising {
            _adopts: adopts,
            children,
            level: Level::open(set.cgroup())?,
            removal: removal::watch(set.cgroup())?,
            backoff: Backoff::default(),
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Supervising {
    _adopts: adopt::Subreaper,
    children: SignalFd,
    level: Level,
    removal: Subscription,
    backoff: Backoff,
    tally: Tally,
}

impl Supervising {
    /// Takes the signal and every zombie. True if there was one.
    fn reap(&mut self) -> Result<bool, SysError> {
        // One signal may stand for many children; only waitid says which.
        while self
            .children
            .read_signal()
            .map_err(|e| SysError::plain("read of signalfd", e))?
            .is_some()
        {}
        let before = self.tally.counters.reaped;
        loop {
            match waitid(
                Whose::Any,
                WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL,
            ) {
                Ok(Some(_)) => self.tally.counters.reaped += 1,
                Ok(None) | Err(Errno::ECHILD) => return Ok(self.tally.counters.reaped > before),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(SysError::plain("waitid", e)),
            }
        }
    }
}

impl Watch for Supervising {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        let sources = Sources::none()
            .readable(&self.children)
            .priority(&self.level.events);
        self.removal.add_to(sources)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        // The level first: on the way to a verdict nothing else matters, and zombies do not count
        // in it.
        if let Some(verdict) = self.level.look(now, self.tally.check()) {
            self.reap()?;
            return Ok(Progress::done(verdict));
        }
        self.removal.drain(&mut self.tally.counters)?;
        self.backoff.looked(crate::sys::time::now());
        if self.reap()? {
            self.backoff.hint(now);
        }
        Ok(Progress {
            next_look: self.backoff.next(),
            ..Progress::pending()
        })
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}
