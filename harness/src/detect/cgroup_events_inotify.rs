//! Watch `cgroup.events` with inotify, as systemd and most runtimes do.

use std::sync::Arc;

use nix::sys::inotify::AddWatchFlags;

use super::common::inotify::Subscription;
use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::expect::Scope;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::entered;
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `IN_MODIFY` on `cgroup.events`; the file is opened for each read and not held, so that a kernel
/// that reports its removal (7.1) can.
#[derive(Debug)]
pub(super) struct CgroupEventsInotify;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-events-inotify",
    summary: "Watches cgroup.events with inotify (IN_MODIFY, IN_DELETE_SELF) and reads populated \
        after every event.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(2),
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "as cgroup-events-poll (10 to 20 ms for a job that lives less than that), and in \
        addition one work item for the whole machine, which waits for every mkdir and rmdir in a \
        kernfs file system",
    idle_cost: "nothing",
    overflow: "IN_Q_OVERFLOW is counted, and the state is read again; identical events merge",
    loses_on_removal: true,
    sources: &[
        "inotify(7)",
        "fs/kernfs/file.c: kernfs_notify_workfn()",
        "Linux 7.1: eea5d2bb34ba (IN_DELETE_SELF; not while the file is held open)",
    ],
    axes: &[],
};

impl Detector for CgroupEventsInotify {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| probe::armed(watch(site)))
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Watching {
            events: watch(set.cgroup())?,
            cgroup: set.cgroup().clone(),
            tally: Tally::default(),
        }))
    }
}

fn watch(cgroup: &Cgroup) -> Result<Subscription, DetectError> {
    let mask = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE_SELF;
    Subscription::to(&cgroup.path().join("cgroup.events"), mask, None)
}

#[derive(Debug)]
struct Watching {
    events: Subscription,
    cgroup: Arc<Cgroup>,
    tally: Tally,
}

impl Watch for Watching {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        self.events.add_to(Sources::none())
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let woken = self.tally.has_looked();
        let counters = self.tally.check();
        if woken {
            self.events.drain(counters)?;
        }
        counters.reads += 1;
        Ok(Progress::of(match self.cgroup.events() {
            Ok(events) if events.populated => None,
            Ok(_) => Some(Verdict::empty(now)),
            Err(e) => Some(Verdict::from_cgroup(&e)),
        }))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}
