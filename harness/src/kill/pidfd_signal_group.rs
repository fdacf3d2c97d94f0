//! `pidfd-signal-group`: SIGKILL to the process group of the main process, by its pidfd instead of
//! a number.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::common::acting;
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::error::SysError;
use crate::sys::pidfd::{self, SIGNAL_PROCESS_GROUP};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct PidfdSignalGroup;

static SPEC: KillSpec = KillSpec {
    id: "pidfd-signal-group",
    summary: "pidfd_send_signal with PIDFD_SIGNAL_PROCESS_GROUP: SIGKILL to the group of the main \
        process",
    reach: Reach {
        scope: Scope::ProcessGroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: false,
    may_hit: &[Bystander::SameGroup],
    effects: Effects::NONE,
    since: KernelVersion(6, 9),
    privilege: "",
    faults: "as killpg, but a reused number cannot be hit",
    sources: &[
        "include/uapi/linux/pidfd.h: PIDFD_SIGNAL_PROCESS_GROUP",
        "kernel/signal.c: do_pidfd_send_signal()",
    ],
    axes: &[],
};

impl BlockingStrategy for PidfdSignalGroup {
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
        // Signal 0 has no effect. ESRCH: the flag is known, and the caller leads no group.
        match pidfd::send_signal_scoped(own.as_fd(), None, SIGNAL_PROCESS_GROUP) {
            Ok(()) | Err(Errno::ESRCH) => Ok(Support::Available),
            Err(errno @ (Errno::EINVAL | Errno::ENOSYS | Errno::EPERM)) => Ok(Support::missing(
                format_args!("pidfd_send_signal with PIDFD_SIGNAL_PROCESS_GROUP: {errno:?}"),
                "Linux 6.9 or later",
            )),
            Err(errno) => Err(SysError::plain("pidfd_send_signal", errno).into()),
        }
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        Ok(acting(|child, _, report| kill(child, report)))
    }
}

fn kill(child: &Child, report: &mut KillReport) -> Result<(), KillError> {
    report.passes = 1;
    report.about_to_signal();
    report.sent(
        pidfd::send_signal_scoped(
            child.pidfd.as_fd(),
            Some(Signal::SIGKILL),
            SIGNAL_PROCESS_GROUP,
        ),
        child.pid.as_raw(),
    );
    Ok(())
}
