//! Read `cgroup.procs` of the cgroup and of all its sub-cgroups at intervals, as many runtimes do.

use std::sync::Arc;
use std::time::Duration;

use super::level::{Level, entered};
use super::{
    Counters, DetectError, Detector, DetectorSpec, INTERVAL, Progress, Signal, Sources, Tally,
    Verdict, Wake, Watch,
};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::effects::Effects;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::scope::Scope;
use crate::set::ProcessSet;
use crate::spawn::{Child, SpawnOptions};

/// A recursive walk each `interval`. An empty walk is only a hint, because a process may have moved
/// to a cgroup that was walked before. `populated` decides.
#[derive(Debug)]
pub struct CgroupProcsPoll;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-procs-poll",
    summary: "Walks cgroup.procs of the cgroup and its sub-cgroups at intervals; when no process \
        is listed, reads populated.",
    scope: Scope::Cgroup,
    wake: Wake::Interval,
    signal: Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by up to one interval. Without the read of populated it would be early: the walk is \
        not a snapshot, and since Linux 6.19 exiting processes are not listed",
    idle_cost: "one walk per interval: three system calls per cgroup and a line per process",
    overflow: "cannot: it reads the state",
    loses_on_removal: false,
    sources: &[
        "cgroups(7)",
        "Linux a72f73c4dd9b (exiting processes hidden)",
    ],
    axes: &[INTERVAL],
};

impl Detector for CgroupProcsPoll {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |cgroup| {
            cgroup.procs_recursive()?;
            Ok(Support::Available)
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Walking {
            cgroup: set.cgroup().clone(),
            level: Level::open(set.cgroup())?,
            interval: Duration::from_nanos(set.param(&INTERVAL)),
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Walking {
    cgroup: Arc<Cgroup>,
    level: Level,
    interval: Duration,
    tally: Tally,
}

impl Watch for Walking {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none()
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let counters = self.tally.check();
        counters.reads += 1;
        let verdict = match self.cgroup.procs_recursive() {
            Ok(members) if members.is_empty() => self.level.look(now, counters),
            Ok(_) => None,
            Err(e) => Some(Verdict::from_cgroup(&e)),
        };
        Ok(Progress::of(verdict).look_at(now + self.interval))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}
