//! `pidfd-signal-group`: SIGKILL to the process group of the main process, by its pidfd instead of a number.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::{Canary, Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::sys::pidfd::{self, SIGNAL_PROCESS_GROUP};
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct PidfdSignalGroup;

static SPEC: KillSpec = KillSpec {
    id: "pidfd-signal-group",
    summary: "pidfd_send_signal with PIDFD_SIGNAL_PROCESS_GROUP: SIGKILL to the group of the main process",
    reach: Reach {
        scope: Scope::ProcessGroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: false,
    may_hit: &[Canary::SameGroup],
    since: KernelVersion(6, 9),
    privilege: "",
    faults: "as killpg, but a reused number cannot be hit",
    sources: &[
        "include/uapi/linux/pidfd.h: PIDFD_SIGNAL_PROCESS_GROUP",
        "kernel/signal.c: do_pidfd_send_signal()",
    ],
    axes: &[],
};

impl KillStrategy for PidfdSignalGroup {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        let own = match pidfd::open(Pid::this()) {
            Ok(own) => own,
            Err(errno) => {
                return Ok(Support::missing(
                    format_args!("pidfd_open: {errno:?}"),
                    "Linux 6.9 or later",
                ));
            }
        };
        // Signal 0 hurts nobody. ESRCH: the flag is known, and the caller leads no group.
        match pidfd::send_signal_scoped(own.as_fd(), None, SIGNAL_PROCESS_GROUP) {
            Ok(()) | Err(Errno::ESRCH) => Ok(Support::Available),
            Err(errno @ (Errno::EINVAL | Errno::ENOSYS | Errno::EPERM)) => Ok(Support::missing(
                format_args!("pidfd_send_signal with PIDFD_SIGNAL_PROCESS_GROUP: {errno:?}"),
                "Linux 6.9 or later",
            )),
            Err(errno) => Err(SysError::plain("pidfd_send_signal", errno).into()),
        }
    }

    fn prepare<'t>(&self, _: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        Ok(Box::new(Ready))
    }
}

#[derive(Debug)]
struct Ready;

impl Killer for Ready {
    fn kill(&mut self, root: &Root, _: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        report.passes = 1;
        report.about_to_signal();
        report.sent(
            pidfd::send_signal_scoped(root.pidfd.as_fd(), Some(Signal::SIGKILL), SIGNAL_PROCESS_GROUP),
            root.pid.as_raw(),
        );
        Ok(report.issued())
    }
}
