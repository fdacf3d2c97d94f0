//! `pdeathsig`: the main process has asked for SIGKILL at its parent's death; the parent is killed.
//!
//! For this purpose there is a minimal init between caller and main process; it is the one that is
//! killed.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

use super::common::{acting, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::{Reach, Scope, Sweep};
use crate::sys::pidfd;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct Pdeathsig;

static SPEC: KillSpec = KillSpec {
    id: "pdeathsig",
    summary: "SIGKILL to the parent of a main process that has PR_SET_PDEATHSIG set to SIGKILL",
    reach: Reach {
        scope: Scope::Main,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[],
    effects: Effects {
        process_in_set: true,
        ..Effects::NONE
    },
    since: KernelVersion(2, 1),
    privilege: "",
    faults: "children do not inherit it; the process can clear it; set-user-ID programs clear it; \
        it fires at the death of the parent's thread, not of the parent; the parent has the \
        workload's user, which may kill it",
    sources: &[
        "PR_SET_PDEATHSIG(2const)",
        "kernel/exit.c: reparent_leader()",
    ],
    axes: &[],
};

impl BlockingStrategy for Pdeathsig {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        probe::pidfds()
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        spawn.init = true;
        spawn.parent_death_signal = Some(Signal::SIGKILL);
        Ok(acting(kill))
    }
}

fn kill(child: &Child, deadline: MonoNs, report: &mut KillReport) -> Result<(), KillError> {
    report.passes = 1;
    report.about_to_signal();
    report.sent(
        pidfd::send_signal(child.pidfd.as_fd(), Some(Signal::SIGKILL)),
        child.pid.as_raw(),
    );
    // The kernel has signalled the children by the time their parent can be waited for
    // (exit_notify()). Before, nothing was issued to them.
    report.indirect = !ends_before(child, deadline)?;
    report.gave_up = report.indirect;
    Ok(())
}

/// Waits until the parent has ended; false if `deadline` passed before. It is not reaped.
fn ends_before(child: &Child, deadline: MonoNs) -> Result<bool, KillError> {
    let fail = |op| move |errno| KillError::from(SysError::pid(op, child.pid.as_raw(), errno));
    loop {
        if pidfd::has_exited(child.pidfd.as_fd()).map_err(fail("poll the pidfd of"))? {
            return Ok(true);
        }
        if deadline.has_passed() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = TimeSpec::from_duration(deadline.remaining());
        match ppoll(&mut fds, Some(timeout), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(fail("wait for the end of")(errno)),
        }
    }
}
