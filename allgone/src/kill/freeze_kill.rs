//! `freeze-kill`: freeze the cgroup, wait until it is frozen, SIGKILL everyone in it and below,
//! thaw. The proposal under study.
//!
//! While `frozen 1` holds, no process forks, moves or exits by itself. So a walk is a snapshot, and
//! one pass reaches every member; a second pass that finds no new member ends it. Killed processes
//! die while the cgroup is frozen; they need no thaw. The cost: leaving the frozen state is an
//! event of `cgroup.events`, and the kernel's rate limit then delays the event for emptiness.

use super::control_files::OPEN_LATE;
use super::freeze::{FREEZE_WAIT, FreezeSweep, Variant};
use super::{KillError, KillSpec, KillStrategy, Killer};
use crate::effects::Effects;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::scope::{Reach, Scope, Sweep};
use crate::set::ProcessSet;
use crate::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub struct FreezeKill;

static SPEC: KillSpec = KillSpec {
    id: "freeze-kill",
    summary: "freeze, wait until `frozen 1`, SIGKILL everyone in the cgroup and below through \
        verified pidfds, thaw",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Held,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 3),
    privilege: "",
    faults: "a member in uninterruptible sleep keeps `frozen 1` away, then it goes on without \
        (and says so); the event for emptiness is 10 to 20 ms late if the kernel limits \
        notifications",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.freeze",
        "kernel/cgroup/freezer.c: cgroup_update_frozen()",
        "pidfd_open(2)",
    ],
    axes: &[FREEZE_WAIT, OPEN_LATE],
};

impl KillStrategy for FreezeKill {
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
        Ok(Box::new(FreezeSweep::prepare(set, Variant::HELD)?))
    }
}
