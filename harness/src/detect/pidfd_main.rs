//! Poll the descriptor of the process that was started.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags};
use nix::unistd::Pid;

use super::common::probe;
use super::common::sleep::{self, Slept};
use super::{Armed, Counters, DetectError, Detector, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::trial::{Root, Site, SpawnPlan};

/// `ppoll(2)` on the pidfd that `clone3` returned.
#[derive(Debug)]
pub(super) struct PidfdMain;

static SPEC: DetectorSpec = DetectorSpec {
    id: "pidfd-main",
    summary: "Polls the pidfd of the process that was started.",
    scope: Scope::Main,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    reaps: false,
    since: KernelVersion(5, 3),
    privilege: "",
    escapes: "every other process: whatever the main process leaves behind when it ends",
    early: "whenever the main process is not the last one",
    late: "one wake-up from `do_notify_pidfd()`",
    idle_cost: "nothing",
    overflow: "cannot: the descriptor stays readable",
    loses_on_removal: false,
    sources: &[
        "pidfd_open(2)",
        "kernel/exit.c: exit_notify()",
        "fs/pidfs.c: pidfd_poll()",
    ],
    axes: &[],
};

impl Detector for PidfdMain {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        probe::pidfd()
    }

    fn arm<'t>(&self, _: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Armed + 't>, DetectError> {
        Ok(Box::new(Watching::default()))
    }
}

#[derive(Debug, Default)]
struct Watching {
    main: Option<(Pid, OwnedFd)>,
    counters: Counters,
}

impl Armed for Watching {
    fn attach(&mut self, root: &Root) -> Result<(), DetectError> {
        let own = root
            .pidfd
            .try_clone()
            .map_err(|e| SysError::io("dup", crate::Target::Pid(root.pid.as_raw()), &e))?;
        self.main = Some((root.pid, own));
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let Some((main, pidfd)) = &self.main else {
            return Ok(Verdict::unknown("nothing was attached"));
        };
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let Slept::Woken(woke) = sleep::on(&mut fds, deadline)? else {
            return Ok(Verdict::deadline());
        };
        self.counters.wakeups += 1;
        self.counters.reads += 1;
        // The readiness is the state itself: POLLIN means that the last thread has exited.
        match fds[0].revents() {
            Some(events) if events.contains(PollFlags::POLLIN) => Ok(Verdict::empty(woke)),
            events => Ok(Verdict::unknown(format_args!("pidfd of {main} answers {events:?}"))),
        }
    }

    fn disarm(self: Box<Self>) -> Counters {
        self.counters
    }
}
