//! Sleep in `poll(2)` on `cgroup.events`.

use super::level::{Level, entered};
use super::{
    Counters, DetectError, Detector, DetectorSpec, Progress, RATE_LIMIT, Signal, Sources, Tally,
    Wake, Watch,
};
use crate::MonoNs;
use crate::effects::Effects;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::scope::Scope;
use crate::set::ProcessSet;
use crate::spawn::{Child, SpawnOptions};

/// `POLLPRI` on an open `cgroup.events`; every wake-up is a hint to read it again.
#[derive(Debug)]
pub struct CgroupEventsPoll;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-events-poll",
    summary: "Polls cgroup.events for POLLPRI and reads populated after every wake-up.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: RATE_LIMIT,
    idle_cost: "nothing",
    overflow: "cannot: events merge, and the state is read again",
    loses_on_removal: true,
    sources: &[
        "cgroups(7)",
        "kernel/cgroup/cgroup.c: cgroup_file_notify(), CGROUP_FILE_NOTIFY_MIN_INTV (b12e35832805, \
            Linux 4.18)",
        "fs/kernfs/file.c: kernfs_generic_poll()",
    ],
    axes: &[],
};

impl Detector for CgroupEventsPoll {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::events(host)
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Polling {
            level: Level::open(set.cgroup())?,
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Polling {
    level: Level,
    tally: Tally,
}

impl Watch for Polling {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().priority(&self.level.events)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        Ok(Progress::of(self.level.look(now, self.tally.check())))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}
