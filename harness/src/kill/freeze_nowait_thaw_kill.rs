//! `freeze-nowait-thaw-kill`: freeze, do not wait, list, thaw, then SIGKILL the processes on the
//! list. Both shortcuts at once.

use super::common::probe;
use super::{KillError, KillSpec, KillStrategy, Killer};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::freeze::{FREEZE_WAIT, FreezeSweep, Variant};
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct FreezeNowaitThawKill;

static SPEC: KillSpec = KillSpec {
    id: "freeze-nowait-thaw-kill",
    summary: "freeze, list everyone without waiting for `frozen 1`, thaw, then SIGKILL by number \
        every process on the list",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[Bystander::ReusedPid],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 3),
    privilege: "",
    faults: "members fork while the list is made, and again before it is used",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.freeze",
        "kernel/fork.c: copy_process(), from the last look at pending signals to \
            cgroup_post_fork()",
    ],
    axes: &[FREEZE_WAIT],
};

impl KillStrategy for FreezeNowaitThawKill {
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
            thaw_first: true,
        };
        Ok(Box::new(FreezeSweep::prepare(set, variant)?))
    }
}
