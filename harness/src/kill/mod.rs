//! Kill strategies: one file per way to end a tree of processes.
//!
//! [`allgone::kill`] defines what a strategy is, and has the strategies without effects on their
//! host. Here are the other contenders. [`STRATEGIES`] lists all of them.

mod common;

mod cgroup_kill_release;
mod cgroups_rs_kill;
mod freeze_cgroup_kill;
mod freeze_nowait_kill;
mod freeze_nowait_thaw_kill;
mod freeze_thaw_kill;
mod kill_main;
mod kill_process_mrelease;
mod kill_session;
mod kill_uid;
mod killpg;
mod memory_oom_group;
mod pdeathsig;
mod pidfd_signal_group;
mod pidfd_tree_kill;
mod pidns_autokill;
mod pidns_kill;
mod proc_scan_kill;
mod procs_loop;
mod procs_loop_pids_max;
mod procs_once;
mod ptrace_exitkill;
mod stop_then_kill;
mod subreaper_walk;
mod unthrottle_then_kill;
mod v1_freeze_kill_thaw;

pub use allgone::kill::{
    BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec, KillStrategy, Killer,
    kill_members_once,
};

use allgone::host::{Host, ProbeError, Support};
use allgone::kill::{CgroupKill, CgroupKillSweep, Fallback, FreezeKill, TermGraceKill};
use allgone::scope::Bystander;
use allgone::spawn::{Child, SpawnOptions};
use allgone::{MonoNs, ProcessSet};

use self::AnyStrategy::{Blocking, Stepped};
use crate::expect::Canary;
use crate::record::FallbackKind;

/// A strategy of either kind.
#[derive(Clone, Copy, Debug)]
pub enum AnyStrategy {
    /// It kills in steps.
    Stepped(&'static dyn KillStrategy),
    /// It can only block.
    Blocking(&'static dyn BlockingStrategy),
}

impl AnyStrategy {
    /// The facts.
    pub fn spec(&self) -> &'static KillSpec {
        match self {
            Stepped(strategy) => strategy.spec(),
            Blocking(strategy) => strategy.spec(),
        }
    }

    /// Whether this machine offers it to this process.
    pub fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match self {
            Stepped(strategy) => strategy.probe(host),
            Blocking(strategy) => strategy.probe(host),
        }
    }

    /// Prepares to kill the members that `set` will have.
    pub fn prepare(&self, set: &ProcessSet, spawn: &mut SpawnOptions) -> Result<Ready, KillError> {
        Ok(match self {
            Stepped(strategy) => Ready::Stepped(strategy.prepare(set, spawn)?),
            Blocking(strategy) => Ready::Blocking(strategy.prepare(set, spawn)?),
        })
    }
}

/// A strategy that is ready to kill one set.
#[derive(Debug)]
pub enum Ready {
    /// It kills in steps.
    Stepped(Box<dyn Killer>),
    /// It can only block.
    Blocking(Box<dyn BlockingKiller>),
}

impl Ready {
    /// Called once, right after the workload's main process was started.
    pub fn attach(&mut self, child: &Child) -> Result<(), KillError> {
        match self {
            Self::Stepped(killer) => killer.attach(child),
            Self::Blocking(killer) => killer.attach(child),
        }
    }

    /// Issues the kill. Returns when it has nothing more to do, or at `deadline`.
    pub fn kill(&mut self, child: &Child, deadline: MonoNs) -> Result<KillReport, KillError> {
        match self {
            Self::Stepped(killer) => killer.kill(deadline),
            Self::Blocking(killer) => killer.kill(child, deadline),
        }
    }
}

/// The canary for a kind of bystander.
pub fn canary(bystander: Bystander) -> Canary {
    match bystander {
        Bystander::SameUid => Canary::SameUid,
        Bystander::SameGroup => Canary::SameGroup,
        Bystander::ParentCgroup => Canary::ParentCgroup,
        Bystander::ReusedPid => Canary::ReusedPid,
    }
}

/// A report in the form of a record.
pub fn recorded(report: &KillReport) -> crate::record::KillReport {
    crate::record::KillReport {
        begun_ns: report.begun_ns,
        held_ns: report.held_ns,
        first_signal_ns: report.first_signal_ns,
        last_signal_ns: report.last_signal_ns,
        issued_ns: report.issued_ns,
        signals: report.signals,
        passes: report.passes,
        esrch: report.esrch,
        foreign: report.foreign,
        gave_up: report.gave_up,
        indirect: report.indirect,
        by_oom: report.by_oom,
        fallbacks: report.fallbacks.iter().map(recorded_fallback).collect(),
        errors: report
            .errors
            .iter()
            .map(crate::error::Recorded::recorded)
            .collect(),
    }
}

fn recorded_fallback(fallback: &Fallback) -> crate::record::Fallback {
    crate::record::Fallback {
        kind: FallbackKind::by_name(fallback.name()).unwrap_or(FallbackKind::Other),
        errno: fallback.errno().map(|errno| format!("{errno:?}")),
        what: fallback.to_string(),
    }
}

/// The strategy to take if there is no reason for another; see [`allgone::kill::RECOMMENDED`].
/// `scenario leaderless --kill all` shows why it sweeps after it has written to `cgroup.kill`
/// ([`crate::host::bugs::SPARES_DEAD_LEADERS`]).
pub const RECOMMENDED: &str = "cgroup-kill-sweep";

/// All strategies, sorted by id.
pub static STRATEGIES: &[AnyStrategy] = &[
    Stepped(&CgroupKill),
    Blocking(&cgroup_kill_release::CgroupKillRelease),
    Stepped(&CgroupKillSweep),
    Blocking(&cgroups_rs_kill::CgroupsRsKill),
    Stepped(&freeze_cgroup_kill::FreezeCgroupKill),
    Stepped(&FreezeKill),
    Stepped(&freeze_nowait_kill::FreezeNowaitKill),
    Stepped(&freeze_nowait_thaw_kill::FreezeNowaitThawKill),
    Stepped(&freeze_thaw_kill::FreezeThawKill),
    Blocking(&kill_main::KillMain),
    Blocking(&kill_process_mrelease::KillProcessMrelease),
    Blocking(&kill_session::KillSession),
    Blocking(&kill_uid::KillUid),
    Blocking(&killpg::Killpg),
    Blocking(&memory_oom_group::MemoryOomGroup),
    Blocking(&pdeathsig::Pdeathsig),
    Blocking(&pidfd_signal_group::PidfdSignalGroup),
    Blocking(&pidfd_tree_kill::PidfdTreeKill),
    Blocking(&pidns_autokill::PidnsAutokill),
    Blocking(&pidns_kill::PidnsKill),
    Blocking(&proc_scan_kill::ProcScanKill),
    Blocking(&procs_loop::ProcsLoop),
    Blocking(&procs_loop_pids_max::ProcsLoopPidsMax),
    Blocking(&procs_once::ProcsOnce),
    Blocking(&ptrace_exitkill::PtraceExitkill),
    Blocking(&stop_then_kill::StopThenKill),
    Blocking(&subreaper_walk::SubreaperWalk),
    Stepped(&TermGraceKill),
    Blocking(&unthrottle_then_kill::UnthrottleThenKill),
    Blocking(&v1_freeze_kill_thaw::V1FreezeKillThaw),
];

/// Finds one by its id.
pub fn by_id(id: &str) -> Option<AnyStrategy> {
    STRATEGIES.iter().copied().find(|s| s.spec().id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::Sweep;

    #[test]
    fn the_registry_is_sorted_and_complete() {
        let ids: Vec<_> = STRATEGIES.iter().map(|s| s.spec().id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kill");
        let of_library = concat!(env!("CARGO_MANIFEST_DIR"), "/../allgone/src/kill");
        let shared = [
            "control_files",
            "fallback",
            "freeze",
            "in_thread",
            "mod",
            "report",
            "signal",
            "sweep",
        ];
        let mut files: Vec<_> = [here, of_library]
            .iter()
            .flat_map(|dir| std::fs::read_dir(dir).unwrap())
            .filter_map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .into_string()
                    .unwrap()
                    .strip_suffix(".rs")
                    .map(str::to_owned)
            })
            .filter(|name| !shared.contains(&name.as_str()))
            .map(|name| name.replace('_', "-"))
            .collect();
        files.sort();
        assert_eq!(ids, files, "one file for each strategy, named after its id");
    }

    #[test]
    fn facts_are_stated_and_do_not_contradict_each_other() {
        for strategy in STRATEGIES {
            let spec = strategy.spec();
            assert!(by_id(spec.id).is_some_and(|found| found.spec().id == spec.id));
            assert!(
                !spec.summary.is_empty() && !spec.faults.is_empty() && !spec.sources.is_empty(),
                "{}",
                spec.id
            );
            assert!(spec.may_hit.is_sorted_by(|a, b| a < b), "{}", spec.id);
            assert!(
                !(spec.claims_sound && spec.reach.sweep == Sweep::Once),
                "{}: one pass over members that are not held cannot be sound",
                spec.id
            );
            assert!(
                !(spec.claims_sound && spec.may_hit.contains(&Bystander::ReusedPid)),
                "{}: a strategy that hits outsiders is not sound",
                spec.id
            );
        }
    }
}
