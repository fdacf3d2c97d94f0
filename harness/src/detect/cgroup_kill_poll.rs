//! Sleep in `poll(2)` on `cgroup.kill`, which no released kernel supports: a draft series of this
//! project makes it readable exactly while the tree is empty.

use std::fs::File;
use std::os::fd::AsFd;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::entered;
use allgone::detect::sleep::{self, Slept};
use allgone::detect::{Progress, Sources};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `POLLIN` on an open `cgroup.kill`: the state itself, with nothing to read.
#[derive(Debug)]
pub(super) struct CgroupKillPoll;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-kill-poll",
    summary: "Polls cgroup.kill for POLLIN, which a draft kernel series reports exactly while the \
        tree has no live process.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion::UNRELEASED,
    privilege: "a kernel with the draft series kernel-patch/series/b-job-handle",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by 10 to 20 ms if the cgroup became empty once before, less than 10 ms ago; else one \
        wake-up",
    idle_cost: "nothing",
    overflow: "cannot: it is a state, and poll reports it for as long as it holds",
    loses_on_removal: false,
    sources: &[
        "kernel-patch/series/b-job-handle/0001-cgroup-Make-cgroup.kill-pollable.patch",
        "fs/kernfs/file.c: kernfs_fop_poll() reports POLLERR for a removed file",
    ],
    axes: &[],
};

/// How to get it.
const REMEDY: &str = "a kernel with the draft series: `lab build --series \
    kernel-patch/series/a-prompt-depopulation --series kernel-patch/series/b-job-handle`, then \
    `lab run`";

impl Detector for CgroupKillPoll {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    /// An empty cgroup: with support the file is readable and nothing else; without, poll on a file
    /// that has never been read (this one cannot be) always reports an error.
    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| {
            let file = match site.open_file("cgroup.kill", OFlag::O_WRONLY) {
                Ok(file) => file,
                Err(e) if e.errno() == Some(nix::errno::Errno::ENOENT) => {
                    return Ok(Support::missing(e, REMEDY));
                }
                Err(e) => return Err(e.into()),
            };
            let mut fds = [PollFd::new(
                file.as_fd(),
                PollFlags::POLLIN | PollFlags::POLLPRI,
            )];
            crate::error::retry_eintr(|| poll(&mut fds, PollTimeout::ZERO))
                .map_err(|e| SysError::plain("poll", e))?;
            match fds[0].revents() {
                Some(PollFlags::POLLIN) => Ok(Support::Available),
                other => Ok(Support::missing(
                    format_args!(
                        "poll on the cgroup.kill of an empty cgroup says {other:?} where POLLIN \
                            alone is the state"
                    ),
                    REMEDY,
                )),
            }
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Polling {
            handle: set.cgroup().open_file("cgroup.kill", OFlag::O_WRONLY)?,
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Polling {
    handle: File,
    counters: Counters,
}

impl Polling {
    /// Sleeps until the file has something to say, or `until`. The readiness is the state, so there
    /// is nothing to be read after the sleep.
    fn state(&mut self, until: MonoNs) -> Result<Option<Verdict>, DetectError> {
        let mut fds = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        let Slept::Woken(woke) = sleep::on(&mut fds, until)? else {
            return Ok(None);
        };
        self.counters.wakeups += 1;
        self.counters.reads += 1;
        let state = fds[0].revents().unwrap_or(PollFlags::empty());
        Ok(if state.contains(PollFlags::POLLERR) {
            Some(Verdict::SiteRemoved { at_ns: now().0 })
        } else {
            state
                .contains(PollFlags::POLLIN)
                .then(|| Verdict::empty(woke))
        })
    }
}

impl Watch for Polling {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().readable(&self.handle)
    }

    fn check(&mut self, _: MonoNs) -> Result<Progress, DetectError> {
        self.state(MonoNs(0)).map(Progress::of)
    }

    /// One call both sleeps and looks.
    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        loop {
            if let Some(verdict) = self.state(deadline)? {
                return Ok(verdict);
            }
            if deadline.has_passed() {
                return Ok(Verdict::deadline());
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
