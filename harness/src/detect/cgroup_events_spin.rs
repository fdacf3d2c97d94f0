//! Read `cgroup.events` without ever sleeping: the lower bound for every detector that relies on
//! `populated`, up to Linux 6.18.

use super::common::probe;
use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::expect::Scope;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::{Level, entered};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `pread(2)` in a loop. Takes a whole CPU from the workload it watches.
#[derive(Debug)]
pub(super) struct CgroupEventsSpin;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-events-spin",
    summary: "Reads populated over and over without sleeping.",
    scope: Scope::Cgroup,
    wake: Wake::Spin,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by one read, about a microsecond, while it has a CPU of its own; else by its time slice",
    idle_cost: "a whole CPU",
    overflow: "cannot: it reads the state",
    loses_on_removal: false,
    sources: &["cgroups(7)", "kernel/cgroup/cgroup.c: cgroup_events_show()"],
    axes: &[],
};

impl BlockingDetector for CgroupEventsSpin {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::events(host)
    }

    fn arm(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Spinning {
            level: Level::open(set.cgroup())?,
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Spinning {
    level: Level,
    counters: Counters,
}

impl BlockingWatch for Spinning {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        loop {
            let woke = now();
            if let Some(verdict) = self.level.look(woke, &mut self.counters) {
                return Ok(verdict);
            }
            if woke >= deadline {
                return Ok(Verdict::deadline());
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
