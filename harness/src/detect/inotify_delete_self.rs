//! Wait for the removal of `cgroup.events` itself: `IN_DELETE_SELF`, which kernfs sends since Linux
//! 7.1.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use inotify::{EventMask, Inotify, WatchMask};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::common::probe;
use super::{
    BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Signal, Verdict, Wake,
};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::detect::sleep::{self, Slept};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `IN_DELETE_SELF` on `cgroup.events`. It reports the removal of the cgroup, and nothing before
/// that.
///
/// `IN_DELETE` on the *parent* directory has always worked; the detectors that cope with a removal
/// use that.
#[derive(Debug)]
pub(super) struct InotifyDeleteSelf;

static SPEC: DetectorSpec = DetectorSpec {
    id: "inotify-delete-self",
    summary: "Watches cgroup.events for IN_DELETE_SELF: it reports the removal of the cgroup, not \
        its emptiness.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::Removal,
    effects: Effects::descriptors(1),
    since: KernelVersion(7, 1),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "until the cgroup is removed, and for ever if a process holds the file open meanwhile",
    idle_cost: "nothing",
    overflow: "IN_Q_OVERFLOW is counted, and the existence of the file is checked",
    loses_on_removal: true,
    sources: &[
        "inotify(7)",
        "Linux eea5d2bb34ba (7.1: kernfs sends IN_DELETE_SELF and IN_IGNORED)",
    ],
    axes: &[],
};

/// How long a probe waits for an event that takes microseconds where it exists.
const HEARING: Duration = Duration::from_millis(200);

impl BlockingDetector for InotifyDeleteSelf {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| {
            let inner = site.create("inner")?;
            let inotify = match watch(&inner) {
                Ok(inotify) => inotify,
                Err(e) => return probe::armed::<()>(Err(e)),
            };
            site.remove_child("inner")?;
            let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
            match sleep::on(&mut fds, now() + HEARING)? {
                Slept::Woken(_) => Ok(Support::Available),
                Slept::Deadline => Ok(Support::missing(
                    "this kernel does not report the removal of a cgroup's files",
                    "Linux 7.1 or later",
                )),
            }
        })
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
        .add(&path, WatchMask::DELETE_SELF)
        .map_err(|e| limit::inotify_watch(&path, limit::errno_of(&e)))?;
    Ok(inotify)
}

#[derive(Debug)]
struct Watching {
    inotify: Inotify,
    cgroup: Arc<Cgroup>,
    counters: Counters,
}

impl BlockingWatch for Watching {
    fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        loop {
            // Opened only for the read: an open file would hold the event back.
            self.counters.reads += 1;
            match self.cgroup.events() {
                Ok(_) => {}
                Err(e) if matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => {
                    return Ok(Verdict::from_cgroup(&e));
                }
                Err(e) => return Ok(Verdict::unknown(e)),
            }
            let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            if sleep::on(&mut fds, deadline)? == Slept::Deadline {
                return Ok(Verdict::deadline());
            }
            self.counters.wakeups += 1;
            match self.inotify.read_events(&mut [0u8; 4096]) {
                Ok(mut events) => {
                    self.counters.overflows +=
                        u64::from(events.any(|e| e.mask.contains(EventMask::Q_OVERFLOW)))
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) => {
                    return Err(SysError::plain("read of inotify", limit::errno_of(&e)).into());
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
