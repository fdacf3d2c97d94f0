//! Poll the descriptor of the process that was started.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::PollFlags;

use super::{
    Counters, DetectError, Detector, DetectorSpec, Progress, Signal, Sources, Tally, Verdict, Wake,
    Watch, sleep,
};
use crate::MonoNs;
use crate::effects::Effects;
use crate::error::SysError;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::scope::Scope;
use crate::set::ProcessSet;
use crate::spawn::{Child, SpawnOptions};

/// `ppoll(2)` on the pidfd that `clone3` returned.
#[derive(Debug)]
pub struct PidfdMain;

static SPEC: DetectorSpec = DetectorSpec {
    id: "pidfd-main",
    summary: "Polls the pidfd of the process that was started.",
    scope: Scope::Main,
    wake: Wake::Event,
    signal: Signal::Emptiness,
    effects: Effects::descriptors(1),
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

    fn arm(&self, _: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Watching::default()))
    }
}

#[derive(Debug, Default)]
struct Watching {
    main: Option<OwnedFd>,
    tally: Tally,
}

impl Watch for Watching {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        let own = child.pidfd.try_clone();
        self.main =
            Some(own.map_err(|e| SysError::io("dup", crate::Target::Pid(child.pid.as_raw()), &e))?);
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        self.main
            .as_ref()
            .map_or_else(Sources::none, |main| Sources::none().readable(main))
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let Some(main) = &self.main else {
            return Ok(Progress::done(Verdict::unknown("nothing was attached")));
        };
        self.tally.check().reads += 1;
        // The readiness is the state itself: POLLIN means that the last thread has exited.
        Ok(if sleep::is_ready(main.as_fd(), PollFlags::POLLIN)? {
            Progress::done(Verdict::empty(now))
        } else {
            Progress::pending()
        })
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}
