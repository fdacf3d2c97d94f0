//! Both interfaces of cgroup v1 together: the release agent removes the cgroup, and the eventfd
//! reports that.

use std::os::fd::AsFd;
use std::path::PathBuf;

use super::common::agent::Task;
use super::common::released::{PATIENCE, Released, rehearse};
use super::common::v1_memory::{self, MemoryCgroup};
use super::v1_event_control::REMEDY;
use super::{Counters, DetectError, Detector, DetectorSpec, Signal, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::host::named;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::begun;
use allgone::detect::sleep::Slept;
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// The workload enters two cgroups of the same path, one in a named hierarchy of its own, one in
/// the memory hierarchy. When the kernel starts the agent of the first, the agent removes the
/// second, and the detector sleeps on an eventfd of the second. See `V1.md`.
#[derive(Debug)]
pub(super) struct V1ReleaseEventControl;

static SPEC: DetectorSpec = DetectorSpec {
    id: "v1-release-event-control",
    summary: "Sleeps on an eventfd of a v1 memory cgroup, which fires because the release agent of \
        a twin of that cgroup removes it.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::Emptiness,
    effects: Effects {
        other_hierarchy: true,
        ..Effects::descriptors(7)
    },
    since: KernelVersion(5, 2),
    privilege: "root in the initial user, cgroup and mount namespaces, and in the v1 memory \
        hierarchy",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by what v1-release-agent is late, and a removal: the eventfd fires from a work item \
        after an RCU grace period",
    idle_cost: "nothing; but every process of the machine has one more hierarchy, which took tens \
        of milliseconds to make and to remove",
    overflow: "an agent that cannot remove the cgroup says so, which is unknown; the kernel does \
        not say that it could not start one",
    loses_on_removal: false,
    sources: &[
        "Documentation/admin-guide/cgroup-v1/cgroups.rst 1.4 and 2.4",
        "kernel/cgroup/cgroup-v1.c: cgroup1_release_agent()",
        "mm/memcontrol-v1.c: memcg1_css_offline()",
    ],
    axes: &[],
};

impl Detector for V1ReleaseEventControl {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        let own = match v1_memory::own().and_then(|own| Ok((MemoryCgroup::path_of(&own)?, own))) {
            Ok(own) => own,
            Err(e) => return Ok(Support::missing(e, REMEDY)),
        };
        let (path, own) = own;
        rehearse(
            host,
            |name| path.join(Task::Remove.name(name)),
            |name, released, pass| {
                let memory = match MemoryCgroup::make(own.join(Task::Remove.name(name))) {
                    Ok(memory) => memory,
                    Err(e) => return Ok(Support::missing(e, REMEDY)),
                };
                let tasks = memory.tasks()?;
                pass(&[tasks.as_fd()])?;
                let slept = released.sleep(Some(memory.as_fd()), now() + PATIENCE)?;
                match (slept, released.drain()?) {
                    (_, Some(complaint)) => Ok(Support::missing(complaint, REMEDY)),
                    (Slept::Woken(_), None) => Ok(Support::Available),
                    (Slept::Deadline, None) => Ok(Support::missing(
                        "the cgroup became empty, and its twin was not removed",
                        "an executable that the kernel can start, and no \
                            CONFIG_STATIC_USERMODEHELPER",
                    )),
                }
            },
        )
    }

    fn arm(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn Watch>, DetectError> {
        let dir = place(set)?;
        let released = Released::make(&named::shared(set.label()), &MemoryCgroup::path_of(&dir)?)?;
        let memory = MemoryCgroup::make(dir)?;
        spawn.enter(memory.tasks()?);
        spawn.enter(released.tasks()?);
        Ok(Box::new(Waiting {
            memory,
            released,
            tally: Tally::default(),
        }))
    }
}

fn place(set: &ProcessSet) -> Result<PathBuf, SysError> {
    MemoryCgroup::place(set, |stem| Task::Remove.name(stem))
}

#[derive(Debug)]
struct Waiting {
    memory: MemoryCgroup,
    released: Released,
    tally: Tally,
}

impl Watch for Waiting {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        begun(child)
    }

    fn sources(&self) -> Sources<'_> {
        self.released.sources().readable(&self.memory)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let woken = self.tally.has_looked();
        let counters = self.tally.check();
        if woken {
            self.memory.drain()?;
            if let Some(complaint) = self.released.drain()? {
                return Ok(Progress::done(Verdict::unknown(complaint)));
            }
        }
        let there = self.memory.exists();
        // The eventfd does not show what removed the memory cgroup, so its twin is checked for
        // emptiness. It is read second, because the agent removes the memory cgroup after the
        // twin is empty.
        if let Some(verdict) = self.released.look(now, counters) {
            return Ok(Progress::done(verdict));
        }
        Ok(Progress::of(match there {
            Ok(true) => None,
            Ok(false) => Some(Verdict::SiteRemoved { at_ns: now.0 }),
            Err(e) => Some(Verdict::unknown(e)),
        }))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}
