//! Sleep in `poll(2)` on `cgroup.events`.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags};

use super::common::level::{Level, entered};
use super::common::probe;
use super::common::sleep::{self, Slept};
use super::{Armed, Counters, DetectError, Detector, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::expect::Scope;
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::sys::time::now;
use crate::trial::{Root, Site, SpawnPlan};

/// `POLLPRI` on an open `cgroup.events`; every wake-up is a hint to read it again.
#[derive(Debug)]
pub(super) struct CgroupEventsPoll;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-events-poll",
    summary: "Polls cgroup.events for POLLPRI and reads populated after every wake-up.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    reaps: false,
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: super::common::RATE_LIMIT,
    idle_cost: "nothing",
    overflow: "cannot: events merge, and the state is read again",
    loses_on_removal: true,
    sources: &[
        "cgroups(7)",
        "kernel/cgroup/cgroup.c: cgroup_file_notify(), CGROUP_FILE_NOTIFY_MIN_INTV (b12e35832805, Linux 4.18)",
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

    fn arm<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Armed + 't>, DetectError> {
        Ok(Box::new(Polling {
            level: Level::open(&site.cgroup)?,
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Polling {
    level: Level,
    counters: Counters,
}

impl Armed for Polling {
    fn attach(&mut self, root: &Root) -> Result<(), DetectError> {
        entered(root)
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let mut woke = now();
        loop {
            if let Some(verdict) = self.level.look(woke, &mut self.counters) {
                return Ok(verdict);
            }
            // POLLPRI alone: the file is always readable, so POLLIN would spin.
            let mut fds = [PollFd::new(self.level.events.as_fd(), PollFlags::POLLPRI)];
            match sleep::on(&mut fds, deadline)? {
                Slept::Woken(at) => woke = at,
                Slept::Deadline => return Ok(Verdict::deadline()),
            }
            self.counters.wakeups += 1;
        }
    }

    fn disarm(self: Box<Self>) -> Counters {
        // Every wake-up but the last left the cgroup populated.
        Counters {
            spurious: self.counters.wakeups.saturating_sub(1),
            ..self.counters
        }
    }
}
