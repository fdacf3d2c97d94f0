//! Try to remove the cgroup until that succeeds: then it was empty, and is gone.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, INTERVAL, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;
use crate::expect::Scope;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::entered;
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `rmdir(2)` each `interval`, sub-cgroups first. Success is a proof: no process can enter a
/// removed cgroup.
#[derive(Debug)]
pub(super) struct CgroupRmdirProbe;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-rmdir-probe",
    summary: "Tries rmdir(2) on the cgroup at intervals until it is no longer EBUSY; detection and \
        removal in one.",
    scope: Scope::Cgroup,
    wake: Wake::Interval,
    signal: super::Signal::Emptiness,
    effects: Effects::NONE,
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by up to one interval; on 6.19 a little more (a dying task still counts). On 7.0 rmdir \
        itself may sleep uninterruptibly until dying tasks are gone",
    idle_cost: "one refused rmdir per interval, which takes cgroup_mutex: it makes every mkdir, \
        rmdir and migration on the machine wait. Sub-cgroups that are empty are removed, also one \
        that a member has just made and is about to enter",
    overflow: "cannot: it asks for the state",
    loses_on_removal: false,
    sources: &[
        "cgroups(7)",
        "kernel/cgroup/cgroup.c: cgroup_destroy_locked()",
        "Linux 1b164b876c36 (7.0: rmdir sleeps), 93618edf7538 (7.1: it does not)",
    ],
    axes: &[INTERVAL],
};

impl Detector for CgroupRmdirProbe {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| {
            site.create("inner")?;
            site.remove_descendants()?;
            Ok(Support::Available)
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Probing {
            cgroup: set.cgroup().clone(),
            parent: parent_of(set)?,
            interval: Duration::from_nanos(set.param(&INTERVAL)),
            tally: Tally::default(),
        }))
    }
}

/// The cgroup that the site is removed from.
fn parent_of(set: &ProcessSet) -> Result<Arc<Cgroup>, DetectError> {
    let missing = || SysError::path("find the parent of", set.cgroup().path(), Errno::ENOENT);
    Ok(set.parent().cloned().ok_or_else(missing)?)
}

#[derive(Debug)]
struct Probing {
    cgroup: Arc<Cgroup>,
    parent: Arc<Cgroup>,
    interval: Duration,
    tally: Tally,
}

impl Probing {
    /// Removes the site, from its parent's descriptor.
    fn attempt(&self) -> Result<(), CgroupError> {
        self.cgroup.remove_descendants()?;
        let name = self.cgroup.path().file_name().unwrap_or_default();
        self.parent.remove_child(&name.to_string_lossy())
    }
}

impl Watch for Probing {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none()
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        self.tally.check().reads += 1;
        let verdict = match self.attempt() {
            // The kernel looked for members under its own locks and found none.
            Ok(()) => Some(Verdict::empty(now)),
            Err(e) if e.errno() == Some(Errno::EBUSY) => None,
            // ENOENT: the cgroup was removed by another process, which is a verdict of its own.
            Err(e) => Some(Verdict::from_cgroup(&e)),
        };
        Ok(Progress::of(verdict).look_at(now + self.interval))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}
