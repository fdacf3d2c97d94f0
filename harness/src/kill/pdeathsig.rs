//! `pdeathsig`: the main process has asked for SIGKILL at its parent's death; the parent is killed.
//!
//! Between caller and main process stands a tiny init for this purpose: it is the one that is killed.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

use super::common::probe;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::sys::pidfd;
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct Pdeathsig;

static SPEC: KillSpec = KillSpec {
    id: "pdeathsig",
    summary: "SIGKILL to the parent of a main process that has PR_SET_PDEATHSIG set to SIGKILL",
    reach: Reach {
        scope: Scope::Main,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[],
    since: KernelVersion(2, 1),
    privilege: "",
    faults: "children do not inherit it; the process can clear it; set-user-ID programs clear it; it fires at the death of the parent's thread, not \
             of the parent",
    sources: &["PR_SET_PDEATHSIG(2const)", "kernel/exit.c: reparent_leader()"],
    axes: &[],
};

impl KillStrategy for Pdeathsig {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        probe::pidfds()
    }

    fn prepare<'t>(&self, _: &'t Site, plan: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        plan.init = true;
        plan.parent_death_signal = Some(Signal::SIGKILL);
        Ok(Box::new(Ready))
    }
}

#[derive(Debug)]
struct Ready;

impl Killer for Ready {
    fn kill(&mut self, root: &Root, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        report.passes = 1;
        report.about_to_signal();
        report.sent(
            pidfd::send_signal(root.pidfd.as_fd(), Some(Signal::SIGKILL)),
            root.pid.as_raw(),
        );
        // The kernel has signalled the children by the time their parent can be waited for (exit_notify()). Before, nothing was issued to them.
        report.indirect = !ends_before(root, deadline)?;
        report.gave_up = report.indirect;
        Ok(report.issued())
    }
}

/// Waits until the parent has ended; false if `deadline` passed before. It is not reaped.
fn ends_before(root: &Root, deadline: MonoNs) -> Result<bool, KillError> {
    let fail = |op| move |errno| KillError::from(SysError::pid(op, root.pid.as_raw(), errno));
    loop {
        if pidfd::has_exited(root.pidfd.as_fd()).map_err(fail("poll the pidfd of"))? {
            return Ok(true);
        }
        if deadline.has_passed() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(root.pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = TimeSpec::from_duration(deadline.remaining());
        match ppoll(&mut fds, Some(timeout), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(fail("wait for the end of")(errno)),
        }
    }
}
