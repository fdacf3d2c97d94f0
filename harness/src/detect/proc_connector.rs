//! Listen to the kernel's fork and exit events (proc connector), and keep a list of the tree's
//! threads.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::unistd::getpid;

use super::common::probe;
use super::common::proc_stat;
use super::proc_scan;
use super::{Counters, DetectError, Detector, DetectorSpec, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::process_events::{Books, Event, ProcessEvents};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::kernel_path;
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// Every fork adds a thread to the list if its parent is in it, and every exit removes one. When
/// the list is empty the tree is over.
///
/// The list is only as good as the stream of events: a loss is noticed (a gap in a CPU's numbers,
/// or `ENOBUFS`), /proc is scanned to go on, and from then on the end is reported as *unknown*,
/// never as empty.
#[derive(Debug)]
pub(super) struct ProcConnector;

static SPEC: DetectorSpec = DetectorSpec {
    id: "proc-connector",
    summary: "Keeps a list of the tree's threads from the fork and exit events of the whole \
        machine (netlink).",
    scope: Scope::SystemWide,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(2, 6),
    privilege: "CAP_NET_ADMIN, in the initial network, PID and user namespace",
    escapes: "a process that joined the cgroup from outside",
    early: "when a process has escaped",
    late: "one wake-up, after the exit has been reported to the parent; more while the machine \
        forks a lot, as every event on it is read",
    idle_cost: "nothing on an idle machine; else a wake-up for every fork, exec and exit of any \
        thread on it. Not filtered in the kernel: only the reader's list knows to which tree a \
        fork belongs, and the numbers of a filtered stream would have gaps",
    overflow: "noticed by ENOBUFS and by per-CPU numbers: /proc is scanned to go on, and the \
        verdict is then unknown",
    loses_on_removal: false,
    sources: &[
        "include/uapi/linux/cn_proc.h",
        "drivers/connector/cn_proc.c: proc_exit_connector(), send_msg()",
    ],
    axes: &[],
};

impl Detector for ProcConnector {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        let heard = ProcessEvents::listen().and_then(|mut events| {
            let passed = probe::in_cgroup(host, |site| {
                probe::passer_by(site, 0)
                    .map_err(|e| SysError::path("start a process in", site.path(), e))?;
                Ok(Support::Available)
            });
            passed.map_err(|e| SysError::path("probe", e.to_string(), Errno::EIO))?;
            events.hear()
        });
        match heard {
            Err(DetectError::Sys(e)) => match e.errno {
                Errno::EPERM => Ok(Support::missing(e, "CAP_NET_ADMIN")),
                Errno::EPROTONOSUPPORT => {
                    Ok(Support::missing(e, "a kernel with CONFIG_PROC_EVENTS"))
                }
                Errno::ENOMSG => Ok(Support::missing(
                    e,
                    "the initial PID, user and network namespace",
                )),
                _ => Err(e.into()),
            },
            other => probe::armed(other),
        }
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        let site = kernel_path::of(set.cgroup().path())?;
        Ok(Box::new(Listening {
            site: site.to_string_lossy().into_owned(),
            own: getpid().as_raw(),
            events: ProcessEvents::listen()?,
            lost: false,
            books: Books::default(),
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Listening {
    /// The cgroup, as the kernel names it.
    site: String,
    /// The watching process, which is the main process's parent.
    own: i32,
    events: ProcessEvents,
    books: Books,
    /// Whether something has been lost since the beginning.
    lost: bool,
    tally: Tally,
}

/// Goes on after a loss: removes threads that are not there any more, and enters descendants that
/// are.
fn rescan(books: &mut Books) -> Result<(), SysError> {
    let all = proc_stat::scan()?;
    let living: BTreeSet<i32> = all.iter().filter(|s| !s.over()).map(|s| s.pid).collect();
    books.threads.retain(|_, process| living.contains(process));
    loop {
        let before = books.threads.len();
        for stat in all.iter().filter(|s| !s.over()) {
            if books.threads.values().any(|process| *process == stat.ppid) {
                books.threads.insert(stat.pid, stat.pid);
            }
        }
        if books.threads.len() == before {
            return Ok(());
        }
    }
}

/// A child that the main process has made with `CLONE_PARENT`. Its parent is the watching process,
/// as that of the watching process's own children: the cgroup tells them apart.
fn sibling(event: Event, own: i32, site: &str) -> Result<Option<(i32, i32)>, SysError> {
    match event {
        Event::Fork {
            parent,
            child,
            group,
        } if parent == own && proc_scan::has_member(site, group)? => Ok(Some((child, group))),
        _ => Ok(None),
    }
}

impl Watch for Listening {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        // The parent of its own fork event is not in the list, so it is entered by hand; what it
        // has forked since then is in the queue.
        self.books
            .threads
            .insert(child.pid.as_raw(), child.pid.as_raw());
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().readable(&self.events)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        self.tally.check().reads += 1;
        let (books, site, own) = (&mut self.books, &self.site, self.own);
        let mut failed = None;
        let lost = self
            .events
            .drain(|_, event| match sibling(event, own, site) {
                Ok(Some((child, group))) => {
                    books.threads.insert(child, group);
                }
                Ok(None) => {
                    books.enter(event);
                }
                Err(e) => failed = Some(e),
            })?;
        if let Some(e) = failed {
            return Err(e.into());
        }
        if lost {
            self.lost = true;
            self.tally.counters.overflows += 1;
            rescan(books)?;
        }
        if !self.books.threads.is_empty() {
            return Ok(Progress::pending());
        }
        Ok(Progress::done(if self.lost {
            Verdict::unknown(
                "events were lost; a scan of /proc finds none, but an orphan may have been missed",
            )
        } else {
            Verdict::empty(now)
        }))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}
