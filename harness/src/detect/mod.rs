//! Completion detectors: one file per way to learn that a tree of processes is gone.
//!
//! A detector is a stateless entry of the registry [`DETECTORS`]; [`Detector::arm`] makes the value that lives for one trial. The
//! order is always the same: `arm` before the workload exists, `attach` right after it was started, `wait` until a deadline, `disarm`.
//! Between `arm` and `disarm` nothing is logged.
//!
//! Invariant: an error while reading is [`Verdict::Unknown`], an event is only a hint to read the state again, and "empty" is said
//! only after a read that said so.

mod common;

mod bpf_notify_populated;
mod bpf_sched_exit;
mod cgroup_events_inotify;
mod cgroup_events_io_uring;
mod cgroup_events_mio;
mod cgroup_events_poll;
mod cgroup_events_sleep;
mod cgroup_events_spin;
mod cgroup_kill_poll;
mod cgroup_procs_poll;
mod cgroup_rmdir_probe;
mod fanotify;
mod inotify_delete_self;
mod io_uring_waitid;
mod pgid_wait;
mod pidfd_main;
mod pidfd_tree;
mod pidns_init;
mod pipe_eof;
mod prepopulated_cgroup;
mod proc_connector;
mod proc_scan;
mod ptrace_tree;
mod session_scan;
mod subreaper;
mod subreaper_cgroup_events;
mod taskstats;
mod tracepoint_notify_populated;
mod v1_event_control;
mod v1_release_agent;
mod v1_release_event_control;
mod waitpid_main;

pub use common::agent::act_as_release_agent;
pub(crate) use common::{backoff, kernel_path, limit, probe, sleep};

pub use crate::record::Counters;
pub(crate) use common::pool::remove_when_empty;
pub use common::pool::{Placeholder, Pool, Warm};

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::MonoNs;
use crate::cgroup::CgroupError;
use crate::error::SysError;
use crate::expect::{Expectation, Scope};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::param::{Axis, Unit};
use crate::trial::{Root, Site, SpawnPlan};

/// How a detector learns of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wake {
    /// It sleeps until the kernel wakes it.
    Event,
    /// It looks at intervals.
    Interval,
    /// It never sleeps.
    Spin,
}

/// What a detector can be woken by at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// The set becoming empty.
    Emptiness,
    /// The site being removed, and nothing else: it is silent for as long as nobody does that.
    Removal,
    /// The removal of a cgroup other than the site, which nobody removes in a trial.
    ForeignRemoval,
}

/// Time between two looks, for detectors that look at intervals.
pub const INTERVAL: Axis = Axis {
    name: "interval",
    unit: Unit::Nanoseconds,
    default: 1_000_000,
    kill_default: None,
    doc: "time between two looks of a detector that looks at intervals",
};

/// The facts about a detector; the soundness page is made from them.
#[derive(Clone, Copy, Debug)]
pub struct DetectorSpec {
    /// Kebab-case; the file's name with `-` for `_`. Says the mechanism, not a virtue.
    pub id: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// Which processes it can see.
    pub scope: Scope,
    /// How it learns of a change.
    pub wake: Wake,
    /// What it is woken by.
    pub signal: Signal,
    /// Whether it reaps what it waits for. A supervisor that also waits elsewhere must know.
    pub reaps: bool,
    /// First kernel that has everything it needs.
    pub since: KernelVersion,
    /// What a process needs to be allowed to use it, beyond a cgroup of its own. Empty: nothing.
    pub privilege: &'static str,
    /// Which processes of the tree can escape it, and how.
    pub escapes: &'static str,
    /// When it says "empty" too early. Empty: never, for the processes in its scope.
    pub early: &'static str,
    /// When it is late, and by how much.
    pub late: &'static str,
    /// What it costs while nothing happens.
    pub idle_cost: &'static str,
    /// What happens when its source of events overflows or is lost.
    pub overflow: &'static str,
    /// Whether a sleeper may never be woken if the owner removes the cgroup (the lost wake-up).
    pub loses_on_removal: bool,
    /// Man page sections, kernel files and commits.
    pub sources: &'static [&'static str],
    /// What can be varied.
    pub axes: &'static [Axis],
}

impl DetectorSpec {
    /// Whether what it says rests on passes over `/proc` alone.
    fn passes_over_proc(&self) -> bool {
        self.wake == Wake::Interval && matches!(self.scope, Scope::SystemWide | Scope::Session)
    }

    /// What to expect of this detector, given what the scenario expects of its scope: what it cannot be woken by it is not asked for.
    pub fn expectation(&self, of_scope: Expectation, owner_removes: bool) -> Expectation {
        match (self.signal, owner_removes) {
            (Signal::Emptiness, _) if of_scope == Expectation::Sound && self.passes_over_proc() => {
                Expectation::MayBeEarly(
                    "a pass over /proc is no snapshot: a chain of forks can run against its order, or past the end of the pid space",
                )
            }
            (Signal::Emptiness, _) => of_scope,
            (Signal::Removal, true) => Expectation::Removed("removal is what it is woken by"),
            (Signal::Removal, false) => {
                Expectation::NotApplicable("it is woken by the removal of the site only, and nobody removes it")
            }
            (Signal::ForeignRemoval, _) => {
                Expectation::NotApplicable("it is woken by the removal of its own cgroup only, and nobody removes that")
            }
        }
    }
}

/// One way to learn that a tree is gone.
pub trait Detector: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static DetectorSpec;

    /// Whether this machine offers it to this process; if not, why, and how to get it. Tries, rather than compares versions.
    fn probe(&self, host: &Host) -> Result<Support, ProbeError>;

    /// Prepares to watch `site`, and says through `plan` what the workload's birth needs (a flag, a descriptor, a gate).
    fn arm<'t>(&self, site: &'t Site, plan: &mut SpawnPlan<'t>) -> Result<Box<dyn Armed + 't>, DetectError>;
}

/// A detector that watches one site.
pub trait Armed: fmt::Debug + Send {
    /// Called once, right after the workload's main process was started.
    fn attach(&mut self, root: &Root) -> Result<(), DetectError>;

    /// Sleeps until there is a verdict or `deadline` has passed. Not called again after a verdict.
    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError>;

    /// Gives up what it holds, and says what the wait took.
    fn disarm(self: Box<Self>) -> Counters;
}

/// What a detector says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The set is empty.
    Empty {
        /// When it woke up for the last time.
        woke_ns: u64,
        /// When it had read the state that says so.
        decided_ns: u64,
    },
    /// The cgroup is gone: somebody else removed it. It was empty then, but this detector did not see it.
    SiteRemoved {
        /// When that was noticed.
        at_ns: u64,
    },
    /// It cannot say. Unknown is never empty.
    Unknown {
        /// When.
        at_ns: u64,
        /// Why: operation and errno, or overflow.
        why: String,
    },
    /// The deadline passed.
    DeadlinePassed {
        /// When.
        at_ns: u64,
    },
}

impl Verdict {
    /// "Empty", decided now after a wake-up at `woke`.
    pub fn empty(woke: MonoNs) -> Self {
        Self::Empty {
            woke_ns: woke.0,
            decided_ns: crate::sys::time::now().0,
        }
    }

    /// The deadline passed, now.
    pub fn deadline() -> Self {
        Self::DeadlinePassed {
            at_ns: crate::sys::time::now().0,
        }
    }

    /// The verdict on a failed read of a cgroup file: `ENODEV` and `ENOENT` mean that it was removed, all else is unknown.
    pub fn from_cgroup(error: &CgroupError) -> Self {
        use nix::errno::Errno;
        let at_ns = crate::sys::time::now().0;
        match error.errno() {
            Some(Errno::ENODEV | Errno::ENOENT) => Self::SiteRemoved { at_ns },
            _ => Self::Unknown {
                at_ns,
                why: error.to_string(),
            },
        }
    }

    /// Unknown, now.
    pub fn unknown(why: impl fmt::Display) -> Self {
        Self::Unknown {
            at_ns: crate::sys::time::now().0,
            why: why.to_string(),
        }
    }
}

impl From<Verdict> for crate::record::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Empty { woke_ns, decided_ns } => Self::Empty { woke_ns, decided_ns },
            Verdict::SiteRemoved { at_ns } => Self::SiteRemoved { at_ns },
            Verdict::Unknown { at_ns, why } => Self::Unknown { at_ns, why },
            Verdict::DeadlinePassed { at_ns } => Self::DeadlinePassed { at_ns },
        }
    }
}

/// A detector could not be set up or went wrong in a way that is not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DetectError {
    /// A system call.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A cgroup file.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A limit of the machine was met.
    #[error("{limit} ({}) is exhausted ({errno}): {remedy}", in_words(*value))]
    Limit {
        /// Which: `fs.inotify.max_user_instances`, `RLIMIT_NOFILE`.
        limit: &'static str,
        /// Its value, if it could be read.
        value: Option<u64>,
        /// What the kernel answered.
        errno: nix::errno::Errno,
        /// What the user can do.
        remedy: &'static str,
    },
}

fn in_words(value: Option<u64>) -> String {
    value.map_or_else(|| "value not known".to_owned(), |value| value.to_string())
}

impl From<nix::errno::Errno> for DetectError {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::Sys(SysError::plain("system call", errno))
    }
}

/// All detectors, sorted by id.
pub static DETECTORS: &[&dyn Detector] = &[
    &bpf_notify_populated::BpfNotifyPopulated,
    &bpf_sched_exit::BpfSchedExit,
    &cgroup_events_inotify::CgroupEventsInotify,
    &cgroup_events_io_uring::CgroupEventsIoUring,
    &cgroup_events_mio::CgroupEventsMio,
    &cgroup_events_poll::CgroupEventsPoll,
    &cgroup_events_sleep::CgroupEventsSleep,
    &cgroup_events_spin::CgroupEventsSpin,
    &cgroup_kill_poll::CgroupKillPoll,
    &cgroup_procs_poll::CgroupProcsPoll,
    &cgroup_rmdir_probe::CgroupRmdirProbe,
    &fanotify::Fanotify,
    &inotify_delete_self::InotifyDeleteSelf,
    &io_uring_waitid::IoUringWaitid,
    &pgid_wait::PgidWait,
    &pidfd_main::PidfdMain,
    &pidfd_tree::PidfdTree,
    &pidns_init::PidnsInit,
    &pipe_eof::PipeEof,
    &prepopulated_cgroup::PrepopulatedCgroup,
    &proc_connector::ProcConnector,
    &proc_scan::ProcScan,
    &ptrace_tree::PtraceTree,
    &session_scan::SessionScan,
    &subreaper::Subreaper,
    &subreaper_cgroup_events::SubreaperCgroupEvents,
    &taskstats::Taskstats,
    &tracepoint_notify_populated::TracepointNotifyPopulated,
    &v1_event_control::V1EventControl,
    &v1_release_agent::V1ReleaseAgent,
    &v1_release_event_control::V1ReleaseEventControl,
    &waitpid_main::WaitpidMain,
];

/// Finds one by its id.
pub fn by_id(id: &str) -> Option<&'static dyn Detector> {
    DETECTORS.iter().copied().find(|d| d.spec().id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sorted_and_every_fact_is_stated() {
        let ids: Vec<&str> = DETECTORS.iter().map(|d| d.spec().id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for spec in DETECTORS.iter().map(|d| d.spec()) {
            for fact in [spec.summary, spec.escapes, spec.late, spec.idle_cost, spec.overflow] {
                assert!(!fact.is_empty(), "{}", spec.id);
                assert!(
                    !fact.contains("  ") && !fact.ends_with('.') || fact == spec.summary,
                    "{}: {fact}",
                    spec.id
                );
            }
            assert!(!spec.sources.is_empty(), "{}", spec.id);
            assert_eq!(by_id(spec.id).map(|d| d.spec().id), Some(spec.id));
        }
        assert!(by_id("nonsense").is_none());
    }

    #[test]
    fn readers_of_records_know_which_detectors_see_the_cgroup() {
        for spec in DETECTORS.iter().map(|d| d.spec()) {
            let claims = spec.scope == Scope::Cgroup;
            assert_eq!(crate::record::sees_the_cgroup(spec.id), claims, "{}", spec.id);
        }
    }

    #[test]
    fn each_detector_has_the_file_that_its_id_names() {
        for id in DETECTORS.iter().map(|d| d.spec().id) {
            let file = format!(
                "{}/src/detect/{}.rs",
                env!("CARGO_MANIFEST_DIR"),
                id.replace(['-', '+'], "_")
            );
            assert!(std::path::Path::new(&file).exists(), "{file}");
        }
    }
}
