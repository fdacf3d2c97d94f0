//! `pidns-kill`: give the workload a PID namespace of its own, and SIGKILL its init. The kernel
//! then kills all other processes of the namespace.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;

use super::common::{acting, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::expect::{Reach, Scope, Sweep};
use crate::sys::pidfd;
use crate::sys::spawn::CLONE_NEWPID;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct PidnsKill;

static SPEC: KillSpec = KillSpec {
    id: "pidns-kill",
    summary: "SIGKILL to the init of the workload's own PID namespace, through its pidfd",
    reach: Reach {
        scope: Scope::PidNamespace,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::NONE,
    since: KernelVersion(5, 3),
    privilege: "CAP_SYS_ADMIN, or a user namespace",
    faults: "decided before the start: no help for a workload that runs already; the init is dead \
        only after all others are",
    sources: &[
        "pid_namespaces(7)",
        "kernel/pid_namespace.c: zap_pid_ns_processes()",
    ],
    axes: &[],
};

impl BlockingStrategy for PidnsKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::clone_flags(host, CLONE_NEWPID, "run as root")
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        spawn.clone_flags |= CLONE_NEWPID;
        spawn.init = true;
        Ok(acting(|child, _, report| kill(child, report)))
    }
}

fn kill(child: &Child, report: &mut KillReport) -> Result<(), KillError> {
    report.indirect = true;
    report.passes = 1;
    report.about_to_signal();
    report.sent(
        pidfd::send_signal(child.pidfd.as_fd(), Some(Signal::SIGKILL)),
        child.pid.as_raw(),
    );
    Ok(())
}
