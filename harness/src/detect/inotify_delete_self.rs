//! Wait for the removal of `cgroup.events` itself: `IN_DELETE_SELF`, which kernfs sends since Linux
//! 7.1.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::inotify::AddWatchFlags;

use super::common::inotify::Subscription;
use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Signal, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::expect::Scope;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::sleep::{self, Slept};
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `IN_DELETE_SELF` on `cgroup.events`. It reports the removal of the cgroup, and nothing before
/// that.
///
/// `IN_DELETE` on the *parent* directory has always worked; the detectors that cope with a removal
/// use that.
#[derive(Debug)]
pub(super) struct InotifyDeleteSelf;

static SPEC: DetectorSpec = DetectorSpec {
    id: "inotify-delete-self",
    summary: "Watches cgroup.events for IN_DELETE_SELF: it reports the removal of the cgroup, not \
        its emptiness.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::Removal,
    effects: Effects::descriptors(2),
    since: KernelVersion(7, 1),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "until the cgroup is removed, and for ever if a process holds the file open meanwhile",
    idle_cost: "nothing",
    overflow: "IN_Q_OVERFLOW is counted, and the existence of the file is checked",
    loses_on_removal: true,
    sources: &[
        "inotify(7)",
        "Linux eea5d2bb34ba (7.1: kernfs sends IN_DELETE_SELF and IN_IGNORED)",
    ],
    axes: &[],
};

/// How long a probe waits for an event that takes microseconds where it exists.
const HEARING: Duration = Duration::from_millis(200);

impl Detector for InotifyDeleteSelf {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| {
            let inner = site.create("inner")?;
            let events = match watch(&inner) {
                Ok(events) => events,
                Err(e) => return probe::armed::<()>(Err(e)),
            };
            site.remove_child("inner")?;
            match sleep::on(&mut events.fds(), now() + HEARING)? {
                Slept::Woken(_) => Ok(Support::Available),
                Slept::Deadline => Ok(Support::missing(
                    "this kernel does not report the removal of a cgroup's files",
                    "Linux 7.1 or later",
                )),
            }
        })
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
    let mask = AddWatchFlags::IN_DELETE_SELF;
    Subscription::to(&cgroup.path().join("cgroup.events"), mask, None)
}

#[derive(Debug)]
struct Watching {
    events: Subscription,
    cgroup: Arc<Cgroup>,
    tally: Tally,
}

impl Watch for Watching {
    fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        self.events.add_to(Sources::none())
    }

    fn check(&mut self, _: MonoNs) -> Result<Progress, DetectError> {
        let woken = self.tally.has_looked();
        let counters = self.tally.check();
        if woken {
            self.events.drain(counters)?;
        }
        // Looked at, not opened for longer: an open file would keep the event from coming.
        counters.reads += 1;
        Ok(Progress::of(
            self.cgroup.events().err().map(|e| Verdict::from_cgroup(&e)),
        ))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}
