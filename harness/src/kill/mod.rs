//! Kill strategies: one file per way to end a tree of processes.
//!
//! A strategy says "issued", never "dead": that is for the oracle to say. It counts what it met (`ESRCH` means that somebody died
//! first) and never signals pid 0 or itself.

mod common;

pub mod cgroup_kill;
pub mod cgroup_kill_release;
pub mod cgroup_kill_sweep;
pub mod cgroups_rs_kill;
pub mod freeze_cgroup_kill;
pub mod freeze_kill;
pub mod freeze_nowait_kill;
pub mod freeze_nowait_thaw_kill;
pub mod freeze_thaw_kill;
pub mod kill_main;
pub mod kill_process_mrelease;
pub mod kill_session;
pub mod kill_uid;
pub mod killpg;
pub mod memory_oom_group;
pub mod pdeathsig;
pub mod pidfd_signal_group;
pub mod pidfd_tree_kill;
pub mod pidns_autokill;
pub mod pidns_kill;
pub mod proc_scan_kill;
pub mod procs_loop;
pub mod procs_loop_pids_max;
pub mod procs_once;
pub mod ptrace_exitkill;
pub mod stop_then_kill;
pub mod subreaper_walk;
pub mod term_grace_kill;
pub mod unthrottle_then_kill;
pub mod v1_freeze_kill_thaw;

use std::fmt;

use thiserror::Error;

use crate::MonoNs;
use crate::cgroup::CgroupError;
use crate::error::SysError;
use crate::expect::{Canary, Reach};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::param::Axis;
use crate::trial::{Root, Site, SpawnPlan};

/// The facts about a strategy.
#[derive(Clone, Copy, Debug)]
pub struct KillSpec {
    /// Kebab-case; the file's name with `-` for `_`.
    pub id: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// Whom it can reach, and how.
    pub reach: Reach,
    /// Whether it claims to leave nothing alive, whatever the adversary does within its cgroup.
    pub claims_sound: bool,
    /// Kinds of canary that it may hit. A hit of any other kind fails the trial.
    pub may_hit: &'static [Canary],
    /// First kernel that has everything it needs.
    pub since: KernelVersion,
    /// What a process needs to be allowed to use it, beyond a cgroup of its own. Empty: nothing.
    pub privilege: &'static str,
    /// How it can fail, as far as is known.
    pub faults: &'static str,
    /// Man page sections, kernel files and commits.
    pub sources: &'static [&'static str],
    /// What can be varied.
    pub axes: &'static [Axis],
}

/// One way to end a tree.
pub trait KillStrategy: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static KillSpec;

    /// Whether this machine offers it to this process; if not, why, and how to get it.
    fn probe(&self, host: &Host) -> Result<Support, ProbeError>;

    /// Prepares to kill what will live in `site`, and says through `plan` what the workload's birth needs. What the kill will write to is
    /// opened here: [`ControlFile`](crate::cgroup::ControlFile) says what it may cost later.
    fn prepare<'t>(&self, site: &'t Site, plan: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError>;
}

/// A strategy that is ready to kill one site.
pub trait Killer: fmt::Debug + Send {
    /// Called once, right after the workload's main process was started: to seize it, to open a gate. Most have nothing to do.
    fn attach(&mut self, _root: &Root) -> Result<(), KillError> {
        Ok(())
    }

    /// Issues the kill. Returns when it has nothing more to do, or at `deadline`.
    fn kill(&mut self, root: &Root, deadline: MonoNs) -> Result<KillReport, KillError>;
}

/// What a strategy did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KillReport {
    /// When the strategy began to act: to freeze, to look, to signal.
    pub begun_ns: u64,
    /// When all members were known to be held still (`frozen 1`), if the strategy waits for that.
    pub held_ns: Option<u64>,
    /// Just before the first signal (or write that signals). 0 if there was none.
    pub first_signal_ns: u64,
    /// After the last one.
    pub last_signal_ns: u64,
    /// When the strategy had nothing more to do.
    pub issued_ns: u64,
    /// Signals sent one by one. A write to `cgroup.kill` counts as one.
    pub signals: u64,
    /// Passes over the members.
    pub passes: u64,
    /// Signals answered with `ESRCH`: somebody died first.
    pub esrch: u64,
    /// Members that could not be named (pid 0) and were not signalled.
    pub foreign: u64,
    /// Whether it gave up at the deadline.
    pub gave_up: bool,
    /// Whether the kernel kills most of the set only when another process has ended (an init, a tracer, a parent): "issued" then means less.
    pub indirect: bool,
    /// Whether the processes are ended by the kernel's OOM killer, on the strategy's order.
    pub by_oom: bool,
    /// What it did instead of what its name says, and why. Never silent.
    pub fallback: Option<String>,
    /// Other errors it met and went on.
    pub errors: Vec<SysError>,
}

/// How many errors are kept one by one in a report.
const ERRORS_KEPT: usize = 16;

impl KillReport {
    /// Begins a report: the strategy begins to act.
    pub fn begin() -> Self {
        Self {
            begun_ns: crate::sys::time::now().0,
            ..Self::default()
        }
    }

    /// Stamps the first signal. Call it right before each.
    pub fn about_to_signal(&mut self) {
        if self.first_signal_ns == 0 {
            self.first_signal_ns = crate::sys::time::now().0;
        }
    }

    /// Notes that a signal (or a write that signals) was sent or answered with `ESRCH`.
    pub fn sent(&mut self, answer: Result<(), nix::errno::Errno>, pid: i32) {
        match answer {
            Ok(()) => {
                self.last_signal_ns = crate::sys::time::now().0;
                self.signals += 1;
            }
            Err(nix::errno::Errno::ESRCH) => self.esrch += 1,
            Err(errno) => self.met(&SysError::pid("signal", pid, errno)),
        }
    }

    /// Notes an error after which the strategy went on. The same error is kept once, and only so many: a loop may meet it a million times.
    pub fn met(&mut self, error: &SysError) {
        if self.errors.len() < ERRORS_KEPT && !self.errors.contains(error) {
            self.errors.push(error.clone());
        }
    }

    /// Notes that it does something else than its name says, and why.
    pub fn fall_back(&mut self, why: String) {
        match &mut self.fallback {
            None => self.fallback = Some(why),
            Some(earlier) if !earlier.contains(&why) => {
                earlier.push_str("; ");
                earlier.push_str(&why);
            }
            Some(_) => {}
        }
    }

    /// Ends a report: nothing more to do.
    pub fn issued(mut self) -> Self {
        self.issued_ns = crate::sys::time::now().0;
        self
    }
}

impl From<KillReport> for crate::record::KillReport {
    fn from(report: KillReport) -> Self {
        Self {
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
            fallback: report.fallback,
            errors: report.errors.iter().map(crate::error::Recorded::recorded).collect(),
        }
    }
}

/// A strategy could not be set up, or could not even begin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KillError {
    /// A system call.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A cgroup file.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// It would hit, or depend on, something that this place does not keep apart.
    #[error("{strategy} is refused: {why}")]
    Refused {
        /// Strategy id.
        strategy: &'static str,
        /// Why.
        why: String,
    },
    /// A library that is measured off the shelf.
    #[error("{library}: {answer}")]
    Library {
        /// Which.
        library: &'static str,
        /// What it said.
        answer: String,
    },
}

/// Sends SIGKILL once to every process listed in `cgroup` and below, to each as a process and not to its first thread: for whoever a write
/// to `cgroup.kill` has left alive. Strangers with reused numbers are spared.
pub(crate) fn kill_members_once(cgroup: &crate::cgroup::Cgroup) -> Result<(), CgroupError> {
    let (mut done, mut report) = (std::collections::HashSet::new(), KillReport::begin());
    common::sweep::pass(cgroup, nix::sys::signal::Signal::SIGKILL, &mut done, &mut report).map(|_| ())
}

/// The strategy to take if there is no reason for another: one write to `cgroup.kill`, in the kernel's hands, forks in progress included, and nobody
/// else hit; and if somebody is left, a sweep. A process that has lost its first thread is left by kernels with a bug
/// ([`crate::host::bugs::SPARES_DEAD_LEADERS`]; `scenario leaderless --kill all` shows it). Where nobody is left it is `cgroup-kill`.
pub const RECOMMENDED: &str = "cgroup-kill-sweep";

/// All strategies, sorted by id.
pub static STRATEGIES: &[&dyn KillStrategy] = &[
    &cgroup_kill::CgroupKill,
    &cgroup_kill_release::CgroupKillRelease,
    &cgroup_kill_sweep::CgroupKillSweep,
    &cgroups_rs_kill::CgroupsRsKill,
    &freeze_cgroup_kill::FreezeCgroupKill,
    &freeze_kill::FreezeKill,
    &freeze_nowait_kill::FreezeNowaitKill,
    &freeze_nowait_thaw_kill::FreezeNowaitThawKill,
    &freeze_thaw_kill::FreezeThawKill,
    &kill_main::KillMain,
    &kill_process_mrelease::KillProcessMrelease,
    &kill_session::KillSession,
    &kill_uid::KillUid,
    &killpg::Killpg,
    &memory_oom_group::MemoryOomGroup,
    &pdeathsig::Pdeathsig,
    &pidfd_signal_group::PidfdSignalGroup,
    &pidfd_tree_kill::PidfdTreeKill,
    &pidns_autokill::PidnsAutokill,
    &pidns_kill::PidnsKill,
    &proc_scan_kill::ProcScanKill,
    &procs_loop::ProcsLoop,
    &procs_loop_pids_max::ProcsLoopPidsMax,
    &procs_once::ProcsOnce,
    &ptrace_exitkill::PtraceExitkill,
    &stop_then_kill::StopThenKill,
    &subreaper_walk::SubreaperWalk,
    &term_grace_kill::TermGraceKill,
    &unthrottle_then_kill::UnthrottleThenKill,
    &v1_freeze_kill_thaw::V1FreezeKillThaw,
];

/// Finds one by its id.
pub fn by_id(id: &str) -> Option<&'static dyn KillStrategy> {
    STRATEGIES.iter().copied().find(|s| s.spec().id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::Sweep;
    use nix::errno::Errno;

    #[test]
    fn the_registry_is_sorted_and_complete() {
        let ids: Vec<_> = STRATEGIES.iter().map(|s| s.spec().id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kill"))
            .unwrap()
            .filter_map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .into_string()
                    .unwrap()
                    .strip_suffix(".rs")
                    .map(str::to_owned)
            })
            .filter(|name| name != "mod")
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
                !(spec.claims_sound && spec.may_hit.contains(&Canary::ReusedPid)),
                "{}: whoever hits strangers is not sound",
                spec.id
            );
        }
    }

    #[test]
    fn a_report_counts_and_keeps_each_error_once() {
        let mut report = KillReport::begin();
        report.about_to_signal();
        report.sent(Ok(()), 7);
        report.sent(Err(Errno::ESRCH), 8);
        for _ in 0..100 {
            report.sent(Err(Errno::EPERM), 9);
        }
        report.fall_back("a".to_owned());
        report.fall_back("b".to_owned());
        report.fall_back("a".to_owned());
        let report = report.issued();
        assert_eq!((report.signals, report.esrch, report.errors.len()), (1, 1, 1));
        assert_eq!(report.errors[0].errno, Errno::EPERM);
        assert_eq!(report.fallback.as_deref(), Some("a; b"));
        assert!(report.begun_ns <= report.first_signal_ns && report.first_signal_ns <= report.last_signal_ns);
        assert!(report.last_signal_ns <= report.issued_ns);
    }
}
