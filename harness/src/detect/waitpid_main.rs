//! Wait for the process that was started, the way `waitpid(2)` always has.

use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::alarm::Alarm;
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid};
use allgone::ProcessSet;
use allgone::effects::{Effects, Reaps};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `waitid(P_PID)`, asleep in the kernel; a timer signal interrupts it at the deadline and not
/// before.
#[derive(Debug)]
pub(super) struct WaitpidMain;

static SPEC: DetectorSpec = DetectorSpec {
    id: "waitpid-main",
    summary: "Sleeps in waitid(2) for the process that was started.",
    scope: Scope::Main,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects {
        timer: true,
        signal_handler: true,
        reaps: Reaps::Main,
        ..Effects::NONE
    },
    since: KernelVersion(2, 6),
    privilege: "",
    escapes: "every other process: whatever the main process leaves behind when it ends",
    early: "whenever the main process is not the last one",
    late: "one wake-up from `do_notify_parent()`; the figure that all others are held against",
    idle_cost: "nothing",
    overflow: "cannot: the zombie keeps the state until it is read",
    loses_on_removal: false,
    sources: &["waitid(2)", "kernel/exit.c: do_notify_parent(), do_wait()"],
    axes: &[],
};

impl BlockingDetector for WaitpidMain {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        Ok(Support::Available)
    }

    fn arm(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Waiting::default()))
    }
}

#[derive(Debug, Default)]
struct Waiting {
    main: Option<Pid>,
    counters: Counters,
}

impl BlockingWatch for Waiting {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        self.main = Some(child.pid);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let Some(main) = self.main else {
            return Ok(Verdict::unknown("nothing was attached"));
        };
        let _alarm = Alarm::at(deadline)?;
        loop {
            let answer = waitid(Whose::Pid(main), WaitPidFlag::WEXITED | WaitPidFlag::__WALL);
            let woke = now();
            self.counters.wakeups += 1;
            match answer {
                Ok(_) => {
                    self.counters.reaped += 1;
                    return Ok(Verdict::empty(woke));
                }
                Err(nix::errno::Errno::EINTR) if woke >= deadline => return Ok(Verdict::deadline()),
                Err(nix::errno::Errno::EINTR) => self.counters.spurious += 1,
                // ECHILD: something else has reaped it, so the time of its end is unknown.
                Err(e) => {
                    let why = SysError::pid("waitid", main.as_raw(), e);
                    return Ok(Verdict::unknown(why));
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
