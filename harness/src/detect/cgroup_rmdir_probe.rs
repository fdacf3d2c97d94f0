//! Try to remove the cgroup until that stops being refused: then it is empty, and gone.

use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::common::level::entered;
use super::common::probe;
use super::common::sleep::{self, Slept};
use super::{Armed, Counters, DetectError, Detector, DetectorSpec, INTERVAL, Verdict, Wake};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;
use crate::expect::Scope;
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::sys::time::now;
use crate::trial::{Root, Site, SpawnPlan};

/// `rmdir(2)` each `interval`, sub-cgroups first. Success is a proof by whoever made it: nobody can enter a removed cgroup.
#[derive(Debug)]
pub(super) struct CgroupRmdirProbe;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-rmdir-probe",
    summary: "Tries rmdir(2) on the cgroup at intervals until it is no longer EBUSY; detection and removal in one.",
    scope: Scope::Cgroup,
    wake: Wake::Interval,
    signal: super::Signal::Emptiness,
    reaps: false,
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by up to one interval; on 6.19 a little more (a dying task still counts). On 7.0 rmdir itself may sleep uninterruptibly until \
           dying tasks are gone",
    idle_cost: "one refused rmdir per interval, which takes cgroup_mutex: it makes every mkdir, rmdir and migration on the machine wait",
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
            remove(site)?;
            Ok(Support::Available)
        })
    }

    fn arm<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Armed + 't>, DetectError> {
        Ok(Box::new(Probing {
            site,
            interval: Duration::from_nanos(site.param(&INTERVAL)),
            counters: Counters::default(),
        }))
    }
}

/// Removes all sub-cgroups of `cgroup`, leaves first, by name below an open directory.
fn remove(cgroup: &Cgroup) -> Result<(), CgroupError> {
    for child in cgroup.children()? {
        let child = child?;
        remove(&child)?;
        let name = child.path().file_name().unwrap_or_default();
        match unlinkat(cgroup, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(e) => return Err(SysError::path("rmdir", child.path(), e).into()),
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Probing<'t> {
    site: &'t Site,
    interval: Duration,
    counters: Counters,
}

impl Probing<'_> {
    /// Removes the site, from its parent's descriptor.
    fn attempt(&self) -> Result<(), CgroupError> {
        remove(&self.site.cgroup)?;
        let name = self.site.cgroup.path().file_name().unwrap_or_default();
        self.site.parent.remove_child(&name.to_string_lossy())
    }
}

impl Armed for Probing<'_> {
    fn attach(&mut self, root: &Root) -> Result<(), DetectError> {
        entered(root)
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let mut woke = now();
        loop {
            self.counters.reads += 1;
            match self.attempt() {
                // The kernel looked for members under its own locks and found none.
                Ok(()) => return Ok(Verdict::empty(woke)),
                Err(e) if e.errno() == Some(Errno::EBUSY) => {}
                // ENOENT is somebody else's removal: a verdict of its own.
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
