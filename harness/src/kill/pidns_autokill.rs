//! `pidns-autokill`: the init of the workload's own PID namespace dies when the last descriptor of
//! its birth is closed.
//!
//! It is meant for supervisors that are killed themselves: the kernel closes their descriptors.
//! Here the descriptor is closed on purpose.

use super::common::probe;
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::expect::{Reach, Scope, Sweep};
use crate::sys::spawn::{CLONE_AUTOREAP, CLONE_NEWPID, CLONE_PIDFD_AUTOKILL, Entry};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct PidnsAutokill;

static SPEC: KillSpec = KillSpec {
    id: "pidns-autokill",
    summary: "close the last CLONE_PIDFD_AUTOKILL descriptor of the init of the workload's own PID \
        namespace",
    reach: Reach {
        scope: Scope::PidNamespace,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::NONE,
    since: KernelVersion(7, 1),
    privilege: "CAP_SYS_ADMIN",
    faults: "a copy of the descriptor that is held anywhere keeps the workload alive; the init \
        reaps itself, so no process can wait for it",
    sources: &[
        "clone(2): CLONE_PIDFD_AUTOKILL",
        "fs/pidfs.c: pidfs_file_release(), c8134b5f13ae (7.1)",
        "pid_namespaces(7)",
    ],
    axes: &[],
};

const FLAGS: u64 = CLONE_NEWPID | CLONE_AUTOREAP | CLONE_PIDFD_AUTOKILL;

impl BlockingStrategy for PidnsAutokill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::clone_flags(host, FLAGS, "Linux 7.1 or later, as root")
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        spawn.clone_flags |= FLAGS;
        spawn.init = true;
        Ok(Box::new(Ready))
    }
}

#[derive(Debug)]
struct Ready;

impl BlockingKiller for Ready {
    /// The spawn falls back to clone(2) where clone3 is refused, which drops the flag silently.
    fn attach(&mut self, child: &Child) -> Result<(), KillError> {
        match child.entry {
            Entry::Moved(errno) => Err(KillError::Refused {
                strategy: SPEC.id,
                why: format!("clone3 was refused ({errno:?}), and clone(2) has no such flag"),
            }),
            Entry::Born | Entry::None => Ok(()),
        }
    }

    fn kill(&mut self, child: &Child, _: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        report.indirect = true;
        report.passes = 1;
        report.about_to_signal();
        child.close_birth_descriptors()?;
        report.sent(Ok(()), child.pid.as_raw());
        Ok(report.issued())
    }
}
