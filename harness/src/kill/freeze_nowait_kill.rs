//! `freeze-nowait-kill`: freeze, do not wait, SIGKILL everyone, thaw.
//!
//! The write to `cgroup.freeze` returns before any process is frozen. Waiting, which is skipped
//! here, is the only proof that no member is in the middle of a fork.

use super::common::probe;
use super::{KillError, KillSpec, KillStrategy, Killer};
use crate::expect::{Reach, Scope, Sweep};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::freeze::{FREEZE_WAIT, FreezeSweep, Variant};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct FreezeNowaitKill;

static SPEC: KillSpec = KillSpec {
    id: "freeze-nowait-kill",
    summary: "freeze, SIGKILL everyone in the cgroup and below without waiting for `frozen 1`, \
        thaw",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::UntilNone,
    },
    claims_sound: false,
    may_hit: &[],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 3),
    privilege: "",
    faults: "a fork that was past its last look at pending signals becomes a member after the \
        walk, and is thawed",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.freeze",
        "kernel/fork.c: copy_process(), from the last look at pending signals to \
            cgroup_post_fork()",
    ],
    axes: &[FREEZE_WAIT],
};

impl KillStrategy for FreezeNowaitKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::file(host, "cgroup.freeze", "Linux 5.2 or later")
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn Killer>, KillError> {
        let variant = Variant {
            wait: false,
            thaw_first: false,
        };
        Ok(Box::new(FreezeSweep::prepare(set, variant)?))
    }
}
