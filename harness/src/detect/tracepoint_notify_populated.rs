//! The same tracepoint as `bpf-notify-populated`, without BPF: its number from tracefs, its events
//! from perf, its filter in the kernel.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::common::hinted::{Hinted, Source, Taken};
use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Wake, Watch};
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::perf::Tracepoint;
use crate::tracepoint::{Tracefs, online_cpus};
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::effects::{Effects, Holds};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::SpawnOptions;

/// perf_event_open(2) on `cgroup:cgroup_notify_populated`, one event per CPU, filtered by cgroup id
/// and `val == 0`.
///
/// tracefs is needed for the number of the tracepoint only, and is mounted only while it is read,
/// on no directory.
#[derive(Debug)]
pub(super) struct TracepointNotifyPopulated;

static SPEC: DetectorSpec = DetectorSpec {
    id: "tracepoint-notify-populated",
    summary: "A perf event on the tracepoint cgroup_notify_populated, filtered to the cgroup, \
        wakes the reader, which reads populated.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects {
        holds: Holds {
            descriptors_per_cpu: 1,
            ..Effects::descriptors(4).holds
        },
        ..Effects::NONE
    },
    since: KernelVersion(5, 2),
    privilege: "CAP_PERFMON (CAP_SYS_ADMIN before 5.8) for the event, CAP_SYS_ADMIN to read the \
        number from tracefs",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "one wake-up through irq_work; not rate limited",
    idle_cost: "nothing here; every flip of any cgroup on the machine is filtered and has its path \
        built. A descriptor and two pages per CPU",
    overflow: "PERF_RECORD_LOST is counted, and the state is read again",
    loses_on_removal: false,
    sources: &[
        "include/trace/events/cgroup.h: cgroup_notify_populated",
        "perf_event_open(2)",
        "Documentation/trace/events.rst: event filtering",
    ],
    axes: &[],
};

impl Detector for TracepointNotifyPopulated {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| match listen(site) {
            Err(DetectError::Sys(e)) => match e.errno {
                Errno::EPERM | Errno::EACCES => {
                    Ok(Support::missing(e, "CAP_PERFMON and CAP_SYS_ADMIN"))
                }
                Errno::ENODEV | Errno::ENOENT | Errno::ENOSYS => Ok(Support::missing(
                    e,
                    "Linux 5.2 or later with CONFIG_EVENT_TRACING and CONFIG_PERF_EVENTS",
                )),
                _ => Err(e.into()),
            },
            other => probe::armed(other),
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Hinted::new(listen(set.cgroup())?, set.cgroup())?))
    }
}

fn listen(cgroup: &Cgroup) -> Result<Listening, DetectError> {
    let number = Tracefs::mount()?.number("cgroup/cgroup_notify_populated")?;
    let filter =
        CString::new(format!("id == {} && val == 0", cgroup.id()?)).map_err(|_| Errno::EINVAL)?;
    let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
        .map_err(|e| limit::descriptor(SysError::plain("epoll_create1", e)))?;
    let mut events = Vec::new();
    for cpu in online_cpus()? {
        let event = match Tracepoint::open(number, cpu, &filter) {
            Ok(event) => event,
            // The processor went offline: nothing exits there.
            Err(Errno::ENODEV) => continue,
            Err(e) => return Err(limit::descriptor(SysError::plain("perf_event_open", e))),
        };
        ready
            .add(&event, EpollEvent::new(EpollFlags::EPOLLIN, 0))
            .map_err(|e| SysError::plain("epoll_ctl", e))?;
        events.push(event);
    }
    Ok(Listening { ready, events })
}

/// One event per CPU, behind one descriptor.
#[derive(Debug)]
struct Listening {
    ready: Epoll,
    events: Vec<Tracepoint>,
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.0.as_fd()
    }
}

impl Source for Listening {
    const AHEAD: bool = false;

    fn take(&mut self, counters: &mut Counters) -> Result<Taken, DetectError> {
        let mut heard = 0;
        for event in &mut self.events {
            let (events, lost) = event.drain();
            heard += events + lost;
            counters.overflows += lost;
        }
        Ok(if heard == 0 {
            Taken::Nothing
        } else {
            Taken::Hint
        })
    }
}
