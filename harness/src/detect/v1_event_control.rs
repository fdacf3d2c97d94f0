//! `cgroup.event_control` of cgroup v1: an eventfd, for which there is no event that says "empty".
//! It fires when the cgroup is removed.

use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags};

use super::common::probe;
use super::common::v1_memory::{self, MemoryCgroup};
use super::{Counters, DetectError, Detector, DetectorSpec, Signal, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::host::probe_name;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::begun;
use allgone::detect::sleep::{self, Slept};
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// An eventfd that reports the removal of the workload's cgroup in the v1 memory hierarchy, and
/// nothing before that. See `V1.md`.
#[derive(Debug)]
pub(super) struct V1EventControl;

static SPEC: DetectorSpec = DetectorSpec {
    id: "v1-event-control",
    summary: "Registers an eventfd in cgroup.event_control of a v1 memory cgroup: it reports the \
        removal of that cgroup, not its emptiness.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::ForeignRemoval,
    effects: Effects {
        other_hierarchy: true,
        ..Effects::descriptors(1)
    },
    since: KernelVersion(2, 6),
    privilege: "root, or a delegated cgroup, in the v1 memory hierarchy",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "until the memory cgroup is removed, which the end of the workload does not do",
    idle_cost: "nothing",
    overflow: "cannot: the eventfd stays readable",
    loses_on_removal: false,
    sources: &[
        "Documentation/admin-guide/cgroup-v1/cgroups.rst 2.4: Notification API",
        "mm/memcontrol-v1.c: memcg_write_event_control(), memcg1_css_offline(), \
            memcg_event_remove()",
    ],
    axes: &[],
};

/// How to get a v1 memory hierarchy.
pub(super) const REMEDY: &str = "root on a machine with the memory controller mounted as cgroup \
    v1 (CONFIG_MEMCG_V1), without PREEMPT_RT";

impl Detector for V1EventControl {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        let made = v1_memory::own()
            .map_err(DetectError::from)
            .and_then(|own| MemoryCgroup::make(own.join(probe_name()?)));
        let memory = match made {
            Ok(memory) => memory,
            Err(e) => return Ok(Support::missing(e, REMEDY)),
        };
        probe::in_cgroup(host, |site| {
            let tasks = memory.tasks()?;
            probe::pass_through(site, 0, &[tasks.as_fd()])
                .map_err(|e| SysError::path("start a process in", site.path(), e))?;
            // It is empty now, and no event says so.
            memory.remove()?;
            let mut fds = [PollFd::new(memory.as_fd(), PollFlags::POLLIN)];
            match sleep::on(&mut fds, now() + super::common::released::PATIENCE)? {
                Slept::Woken(_) => Ok(Support::Available),
                Slept::Deadline => Ok(Support::missing(
                    "the eventfd did not fire when its cgroup was removed",
                    REMEDY,
                )),
            }
        })
    }

    fn arm(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn Watch>, DetectError> {
        let memory = MemoryCgroup::make(place(set)?)?;
        spawn.enter(memory.tasks()?);
        Ok(Box::new(Waiting {
            memory,
            tally: Tally::default(),
        }))
    }
}

fn place(set: &ProcessSet) -> Result<PathBuf, SysError> {
    MemoryCgroup::place(set, |stem| format!("{stem}.event"))
}

#[derive(Debug)]
struct Waiting {
    memory: MemoryCgroup,
    tally: Tally,
}

impl Watch for Waiting {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        begun(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().readable(&self.memory)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let woken = self.tally.has_looked();
        self.tally.check().reads += 1;
        if woken {
            self.memory.drain()?;
        }
        Ok(Progress::of(match self.memory.exists() {
            Ok(true) => None,
            Ok(false) => Some(Verdict::SiteRemoved { at_ns: now.0 }),
            Err(e) => Some(Verdict::unknown(e)),
        }))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}
