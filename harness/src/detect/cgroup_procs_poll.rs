//! Read `cgroup.procs` of the cgroup and of all its sub-cgroups at intervals, as many runtimes do.

use std::time::Duration;

use super::common::level::{Level, entered};
use super::common::probe;
use super::common::sleep::{self, Slept};
use super::{Armed, Counters, DetectError, Detector, DetectorSpec, INTERVAL, Verdict, Wake};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::expect::Scope;
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::sys::time::now;
use crate::trial::{Root, Site, SpawnPlan};

/// A recursive walk each `interval`. An empty walk is only a hint: a process may have moved behind the walker's back, so `populated`
/// has the last word.
#[derive(Debug)]
pub(super) struct CgroupProcsPoll;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-procs-poll",
    summary: "Walks cgroup.procs of the cgroup and its sub-cgroups at intervals; when nobody is listed, asks populated.",
    scope: Scope::Cgroup,
    wake: Wake::Interval,
    signal: super::Signal::Emptiness,
    reaps: false,
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by up to one interval. Without the question to populated it would be early: the walk is no snapshot, and since Linux 6.19 \
           exiting processes are not listed",
    idle_cost: "one walk per interval: three system calls per cgroup and a line per process",
    overflow: "cannot: it reads the state",
    loses_on_removal: false,
    sources: &["cgroups(7)", "Linux a72f73c4dd9b (exiting processes hidden)"],
    axes: &[INTERVAL],
};

impl Detector for CgroupProcsPoll {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| {
            site.procs_recursive()?;
            Ok(Support::Available)
        })
    }

    fn arm<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Armed + 't>, DetectError> {
        Ok(Box::new(Walking {
            cgroup: &site.cgroup,
            level: Level::open(&site.cgroup)?,
            interval: Duration::from_nanos(site.param(&INTERVAL)),
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Walking<'t> {
    cgroup: &'t Cgroup,
    level: Level,
    interval: Duration,
    counters: Counters,
}

impl Armed for Walking<'_> {
    fn attach(&mut self, root: &Root) -> Result<(), DetectError> {
        entered(root)
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let mut woke = now();
        loop {
            self.counters.reads += 1;
            match self.cgroup.procs_recursive() {
                Ok(members) if members.is_empty() => {
                    if let Some(verdict) = self.level.look(woke, &mut self.counters) {
                        return Ok(verdict);
                    }
                }
                Ok(_) => {}
                Err(e) => return Ok(Verdict::from_cgroup(&e)),
            }
            match sleep::until(woke + self.interval, deadline) {
                Slept::Woken(at) => woke = at,
                Slept::Deadline => return Ok(Verdict::deadline()),
            }
            self.counters.wakeups += 1;
        }
    }

    fn disarm(self: Box<Self>) -> Counters {
        self.counters
    }
}
