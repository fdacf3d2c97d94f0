//! Watch `cgroup.events` with inotify, as systemd and most runtimes do.

use std::os::fd::AsFd;
use std::sync::Arc;

use inotify::{EventMask, Inotify, WatchMask};
use nix::poll::{PollFd, PollFlags};

use super::common::probe;
use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::entered;
use allgone::detect::limit;
use allgone::detect::sleep::{self, Slept};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `IN_MODIFY` on `cgroup.events`; the file is opened for each read and not held, so that a kernel
/// that reports its removal (7.1) can.
#[derive(Debug)]
pub(super) struct CgroupEventsInotify;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-events-inotify",
    summary: "Watches cgroup.events with inotify (IN_MODIFY, IN_DELETE_SELF) and reads populated \
        after every event.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "as cgroup-events-poll (10 to 20 ms for a job that lives less than that), and in \
        addition one work item for the whole machine, which waits for every mkdir and rmdir in a \
        kernfs file system",
    idle_cost: "nothing",
    overflow: "IN_Q_OVERFLOW is counted, and the state is read again; identical events merge",
    loses_on_removal: true,
    sources: &[
        "inotify(7)",
        "fs/kernfs/file.c: kernfs_notify_workfn()",
        "Linux 7.1: eea5d2bb34ba (IN_DELETE_SELF; not while the file is held open)",
    ],
    axes: &[],
};

impl BlockingDetector for CgroupEventsInotify {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| probe::armed(watch(site)))
    }

    fn arm(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Watching {
            inotify: watch(set.cgroup())?,
            cgroup: set.cgroup().clone(),
            counters: Counters::default(),
        }))
    }
}

fn watch(cgroup: &Cgroup) -> Result<Inotify, DetectError> {
    let inotify = Inotify::init().map_err(|e| limit::inotify_init(limit::errno_of(&e)))?;
    let path = cgroup.path().join("cgroup.events");
    inotify
        .watches()
        .add(&path, WatchMask::MODIFY | WatchMask::DELETE_SELF)
        .map_err(|e| limit::inotify_watch(&path, limit::errno_of(&e)))?;
    Ok(inotify)
}

#[derive(Debug)]
struct Watching {
    inotify: Inotify,
    cgroup: Arc<Cgroup>,
    counters: Counters,
}

impl Watching {
    fn look(&mut self, woke: MonoNs) -> Option<Verdict> {
        self.counters.reads += 1;
        match self.cgroup.events() {
            Ok(events) if events.populated => None,
            Ok(_) => Some(Verdict::empty(woke)),
            Err(e) => Some(Verdict::from_cgroup(&e)),
        }
    }

    /// Takes the events off the queue. Their content does not matter: each only means that the
    /// state is to be read. Losses are counted.
    fn drain(&mut self) -> Result<(), SysError> {
        let mut buffer = [0u8; 4096];
        match self.inotify.read_events(&mut buffer) {
            Ok(events) => {
                for event in events {
                    self.counters.overflows +=
                        u64::from(event.mask.contains(EventMask::Q_OVERFLOW));
                }
                Ok(())
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(SysError::plain("read of inotify", limit::errno_of(&e))),
        }
    }
}

impl BlockingWatch for Watching {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let mut woke = now();
        loop {
            if let Some(verdict) = self.look(woke) {
                return Ok(verdict);
            }
            let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            match sleep::on(&mut fds, deadline)? {
                Slept::Woken(at) => woke = at,
                Slept::Deadline => return Ok(Verdict::deadline()),
            }
            self.counters.wakeups += 1;
            self.drain()?;
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        Counters {
            spurious: self.counters.wakeups.saturating_sub(1),
            ..self.counters
        }
    }
}
