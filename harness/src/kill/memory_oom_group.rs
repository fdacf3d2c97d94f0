//! `memory-oom-group`: `memory.oom.group` and `memory.max` 0, so that the OOM killer ends the whole
//! cgroup.
//!
//! There is a good reason why it is not used: it kills through the memory controller, and only as
//! long as there is memory to reclaim.

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::common::{acting, own, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::cgroup::{Cgroup, CgroupError};
use crate::record::FallbackKind;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct MemoryOomGroup;

static SPEC: KillSpec = KillSpec {
    id: "memory-oom-group",
    summary: "set memory.oom.group, then memory.max to 0: the OOM killer ends everyone in the \
        cgroup and below",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::UntilNone,
    },
    claims_sound: false,
    may_hit: &[Bystander::ParentCgroup],
    effects: Effects::NONE,
    since: KernelVersion(4, 19),
    privilege: "the memory controller of cgroup v2",
    faults: "a fork in progress escapes the walk; processes with oom_score_adj -1000 are spared; \
        the write sleeps in reclaim; if the site has no memory limit of its own, its parent's is \
        used, which also hits the other processes there",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: memory.oom.group, memory.max",
        "mm/oom_kill.c: oom_kill_process()",
    ],
    axes: &[],
};

impl BlockingStrategy for MemoryOomGroup {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::file(
            host,
            "memory.oom.group",
            "a machine with the memory controller in cgroup v2, delegated",
        )
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let (target, is_parent) = match set.parent() {
            Some(parent) if !has_limit(set.cgroup())? => (parent.clone(), true),
            _ => (set.cgroup().clone(), false),
        };
        // Not before the kill: an OOM kill that the program brings about is not this strategy's.
        Ok(acting(move |_, _, report| kill(&target, is_parent, report)))
    }
}

fn has_limit(cgroup: &Cgroup) -> Result<bool, CgroupError> {
    match cgroup.open_file("memory.oom.group", OFlag::O_WRONLY) {
        Ok(_) => Ok(true),
        Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

fn kill(target: &Cgroup, is_parent: bool, report: &mut KillReport) -> Result<(), KillError> {
    report.by_oom = true;
    if is_parent {
        report.fall_back(own(
            FallbackKind::UsedParentsLimit,
            "the site has no memory limit of its own: used its parent's",
        ));
    }
    let group = target.read("memory.oom.group")?;
    let limit = target.read("memory.max")?;
    report.passes = 1;
    target.write("memory.oom.group", "1")?;
    report.about_to_signal();
    let killed = target.write("memory.max", "0");
    if killed.is_ok() {
        report.sent(Ok(()), 0);
    }
    // Both as they were, in any case: what comes later needs memory too, and a parent has others.
    let restored = [("memory.max", limit), ("memory.oom.group", group)]
        .map(|(file, before)| target.write(file, before.trim()));
    killed?;
    restored.into_iter().collect::<Result<(), _>>()?;
    Ok(())
}
