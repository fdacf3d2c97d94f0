//! `stop-then-kill`: SIGSTOP to every member until a pass finds no new one, then SIGKILL. A freezer
//! made of signals.

use std::collections::HashSet;

use nix::sys::signal::Signal;

use super::common::{acting, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::cgroup::Census;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::by_number;
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct StopThenKill;

static SPEC: KillSpec = KillSpec {
    id: "stop-then-kill",
    summary: "SIGSTOP by number to everyone in the cgroup and below until a pass finds no new \
        one, then SIGKILL in the same way",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::UntilNone,
    },
    claims_sound: false,
    may_hit: &[Bystander::SameGroup, Bystander::ReusedPid],
    effects: Effects::NONE,
    since: KernelVersion(4, 5),
    privilege: "",
    faults: "a signal is not acted on at once: a member that is not stopped yet may fork after \
        the pass that found no new one; members can continue each other; a reused number is \
        taken for one that was stopped; a process group that is orphaned while a member is \
        stopped is sent SIGHUP by the kernel, which ends outsiders in it",
    sources: &[
        "signal(7): SIGSTOP",
        "setpgid(2): orphaned process groups",
        "kernel/exit.c: kill_orphaned_pgrp()",
    ],
    axes: &[],
};

impl BlockingStrategy for StopThenKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::lists(host)
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let set = set.clone();
        Ok(acting(move |_, deadline, report| {
            kill_all(&set, deadline, report)
        }))
    }
}

fn kill_all(set: &ProcessSet, deadline: MonoNs, report: &mut KillReport) -> Result<(), KillError> {
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        let mut met = HashSet::new();
        loop {
            let census = Census::deep(set.cgroup())?;
            report.passes += 1;
            report.foreign = report.foreign.max(census.foreign);
            let new = census.new_to(&met);
            if new.is_empty() {
                break;
            }
            if deadline.has_passed() {
                report.gave_up = true;
                break;
            }
            for pid in new {
                by_number(report, pid, signal);
                met.insert(pid);
            }
        }
    }
    Ok(())
}
