//! `notify_on_release` in a named cgroup v1 hierarchy: the kernel starts an agent when the cgroup
//! becomes empty.

use std::path::{Path, PathBuf};

use super::common::agent::Task;
use super::common::released::{PATIENCE, Released, rehearse};
use super::{Counters, DetectError, Detector, DetectorSpec, Signal, Wake, Watch};
use crate::MonoNs;
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

/// A hierarchy of its own, and this executable as the agent that reports through a socket. See
/// `V1.md`.
#[derive(Debug)]
pub(super) struct V1ReleaseAgent;

static SPEC: DetectorSpec = DetectorSpec {
    id: "v1-release-agent",
    summary: "Lets the workload enter a cgroup of a named v1 hierarchy. When it is empty the \
        kernel starts the release agent, which reports through a socket.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::Emptiness,
    effects: Effects {
        other_hierarchy: true,
        ..Effects::descriptors(6)
    },
    since: KernelVersion(5, 2),
    privilege: "root in the initial user, cgroup and mount namespaces, where the kernel looks for \
        the agent",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by the start of a program: a work item, a fork and an exec by the kernel, then a \
        message (milliseconds); no rate limit",
    idle_cost: "nothing; but every process of the machine has one more hierarchy, which took tens \
        of milliseconds to make and to remove",
    overflow: "the kernel does not say that an agent could not be started (no memory, not found): \
        then the detector is not woken before the deadline",
    loses_on_removal: false,
    sources: &[
        "Documentation/admin-guide/cgroup-v1/cgroups.rst 1.4: What does notify_on_release do?",
        "kernel/cgroup/cgroup-v1.c: cgroup1_check_for_release(), cgroup1_release_agent()",
        "Linux 81a6a5cdd2c5 (2.6.24: notify_on_release); 5.2: a mount without a mount point",
    ],
    axes: &[],
};

impl Detector for V1ReleaseAgent {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        rehearse(host, path_of, |_, released, pass| {
            pass(&[])?;
            match released.sleep(None, now() + PATIENCE)? {
                Slept::Woken(_) => Ok(Support::Available),
                Slept::Deadline => Ok(Support::missing(
                    "the cgroup became empty, and no agent has reported",
                    "an executable that the kernel can start, in the initial network namespace, \
                        and no CONFIG_STATIC_USERMODEHELPER",
                )),
            }
        })
    }

    fn arm(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn Watch>, DetectError> {
        let name = set.label();
        let released = Released::make(&named::shared(name), &path_of(name))?;
        spawn.enter(released.tasks()?);
        Ok(Box::new(Waiting {
            released,
            tally: Tally::default(),
        }))
    }
}

fn path_of(name: &str) -> PathBuf {
    Path::new("/").join(Task::Report.name(name))
}

#[derive(Debug)]
struct Waiting {
    released: Released,
    tally: Tally,
}

impl Watch for Waiting {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        begun(child)
    }

    fn sources(&self) -> Sources<'_> {
        self.released.sources()
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let woken = self.tally.has_looked();
        let counters = self.tally.check();
        if woken {
            self.released.drain()?;
        }
        Ok(Progress::of(self.released.look(now, counters)))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}
