//! Completion detectors: one file per way to learn that a tree of processes is gone.
//!
//! [`allgone::detect`] defines what a detector is, and has the mechanisms without effects on their
//! host. Here are the contenders that have effects, or need more crates. [`DETECTORS`] lists all of
//! them.
//!
//! Seven can only block: those that sleep in `waitid(2)` (no descriptor says that some child has
//! ended; `subreaper+cgroup-events` shows what it costs to have one, a blocked `SIGCHLD`), the
//! tracer, the one that never sleeps, and those whose sleep on a ring of io_uring is the mechanism.

mod common;

mod bpf_sched_exit;
mod cgroup_events_inotify;
mod cgroup_events_io_uring;
mod cgroup_events_mio;
mod cgroup_events_sleep;
mod cgroup_events_spin;
mod cgroup_kill_poll;
mod cgroup_rmdir_probe;
mod fanotify;
mod inotify_delete_self;
mod io_uring_waitid;
mod pgid_wait;
mod pidfd_tree;
mod pidns_init;
mod pipe_eof;
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
pub(crate) use common::probe;

pub(crate) use allgone::detect::{Backoff, kernel_path, limit, sleep};
pub use allgone::detect::{
    BlockingDetector, BlockingWatch, Counters, DetectError, Detector, DetectorSpec, INTERVAL,
    Placeholder, Pool, Signal, Verdict, Wake, Warm, Watch,
};

use allgone::detect::{
    BpfNotifyPopulated, CgroupEventsPoll, CgroupProcsPoll, PidfdCgroupEvents, PidfdMain,
    PrepopulatedCgroup,
};
use allgone::host::{Host, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};
use allgone::{MonoNs, ProcessSet};

use self::AnyDetector::{Blocking, Polled};
use crate::expect::Expectation;

/// A detector of either kind.
#[derive(Clone, Copy, Debug)]
pub enum AnyDetector {
    /// It can be polled.
    Polled(&'static dyn Detector),
    /// It can only block.
    Blocking(&'static dyn BlockingDetector),
}

impl AnyDetector {
    /// The facts.
    pub fn spec(&self) -> &'static DetectorSpec {
        match self {
            Polled(detector) => detector.spec(),
            Blocking(detector) => detector.spec(),
        }
    }

    /// Whether this machine offers it to this process.
    pub fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match self {
            Polled(detector) => detector.probe(host),
            Blocking(detector) => detector.probe(host),
        }
    }

    /// Prepares to watch `set`.
    pub fn arm(&self, set: &ProcessSet, spawn: &mut SpawnOptions) -> Result<Armed, DetectError> {
        Ok(match self {
            Polled(detector) => Armed::Polled(detector.arm(set, spawn)?),
            Blocking(detector) => Armed::Blocking(detector.arm(set, spawn)?),
        })
    }

    /// What to expect of it, given what the scenario expects of its scope: what it cannot be woken
    /// by it is not asked for.
    pub fn expectation(&self, of_scope: Expectation, owner_removes: bool) -> Expectation {
        expectation(self.spec(), of_scope, owner_removes)
    }
}

/// What to expect of a detector, given what the scenario expects of its scope: what it cannot be
/// woken by it is not asked for.
pub fn expectation(spec: &DetectorSpec, of_scope: Expectation, owner_removes: bool) -> Expectation {
    match (spec.signal, owner_removes) {
        (Signal::Emptiness, _) if of_scope == Expectation::Sound && spec.passes_over_proc() => {
            Expectation::MayBeEarly(
                "a pass over /proc is not a snapshot: a chain of forks can run against its order, \
                    or past the end of the pid space",
            )
        }
        (Signal::Emptiness, _) => of_scope,
        (Signal::Removal, true) => Expectation::Removed("removal is what it is woken by"),
        (Signal::Removal, false) => Expectation::NotApplicable(
            "it is woken only by the removal of the site, which does not happen",
        ),
        (Signal::ForeignRemoval, _) => Expectation::NotApplicable(
            "it is woken only by the removal of its own cgroup, which does not happen",
        ),
    }
}

/// A detector that watches one set.
#[derive(Debug)]
pub enum Armed {
    /// It can be polled.
    Polled(Box<dyn Watch>),
    /// It can only block.
    Blocking(Box<dyn BlockingWatch>),
}

impl Armed {
    /// Called once, right after the workload's main process was started.
    pub fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        match self {
            Self::Polled(watch) => watch.attach(child),
            Self::Blocking(watch) => watch.attach(child),
        }
    }

    /// Sleeps until there is a verdict or `deadline` has passed. Not called again after a verdict.
    pub fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        match self {
            Self::Polled(watch) => watch.wait(deadline),
            Self::Blocking(watch) => watch.wait(deadline),
        }
    }

    /// Releases everything and returns the counters of the wait.
    pub fn finish(self) -> Counters {
        match self {
            Self::Polled(watch) => watch.finish(),
            Self::Blocking(watch) => watch.finish(),
        }
    }
}

/// A verdict in the form of a record.
pub fn recorded(verdict: Verdict) -> crate::record::Verdict {
    use crate::record::Verdict as Recorded;
    match verdict {
        Verdict::Empty {
            woke_ns,
            decided_ns,
        } => Recorded::Empty {
            woke_ns,
            decided_ns,
        },
        Verdict::SiteRemoved { at_ns } => Recorded::SiteRemoved { at_ns },
        Verdict::Unknown { at_ns, why, errno } => Recorded::Unknown {
            at_ns,
            why,
            errno: errno.map(|errno| format!("{errno:?}")),
        },
        Verdict::DeadlinePassed { at_ns } => Recorded::DeadlinePassed { at_ns },
    }
}

/// Counters in the form of a record.
pub fn recorded_counters(counters: Counters) -> crate::record::Counters {
    crate::record::Counters {
        wakeups: counters.wakeups,
        spurious: counters.spurious,
        reads: counters.reads,
        overflows: counters.overflows,
        reaped: counters.reaped,
        event_ns: counters.event_ns,
        fallbacks: counters.fallbacks,
        prepare_ns: counters.prepare_ns,
        asked_ns: counters.asked_ns,
    }
}

/// All detectors, sorted by id.
pub static DETECTORS: &[AnyDetector] = &[
    Polled(&BpfNotifyPopulated),
    Polled(&bpf_sched_exit::BpfSchedExit),
    Polled(&cgroup_events_inotify::CgroupEventsInotify),
    Blocking(&cgroup_events_io_uring::CgroupEventsIoUring),
    Polled(&cgroup_events_mio::CgroupEventsMio),
    Polled(&CgroupEventsPoll),
    Polled(&cgroup_events_sleep::CgroupEventsSleep),
    Blocking(&cgroup_events_spin::CgroupEventsSpin),
    Polled(&cgroup_kill_poll::CgroupKillPoll),
    Polled(&CgroupProcsPoll),
    Polled(&cgroup_rmdir_probe::CgroupRmdirProbe),
    Polled(&fanotify::Fanotify),
    Polled(&inotify_delete_self::InotifyDeleteSelf),
    Blocking(&io_uring_waitid::IoUringWaitid),
    Blocking(&pgid_wait::PgidWait),
    Polled(&PidfdCgroupEvents),
    Polled(&PidfdMain),
    Polled(&pidfd_tree::PidfdTree),
    Polled(&pidns_init::PidnsInit),
    Polled(&pipe_eof::PipeEof),
    Polled(&PrepopulatedCgroup),
    Polled(&proc_connector::ProcConnector),
    Polled(&proc_scan::ProcScan),
    Blocking(&ptrace_tree::PtraceTree),
    Polled(&session_scan::SessionScan),
    Blocking(&subreaper::Subreaper),
    Polled(&subreaper_cgroup_events::SubreaperCgroupEvents),
    Polled(&taskstats::Taskstats),
    Polled(&tracepoint_notify_populated::TracepointNotifyPopulated),
    Polled(&v1_event_control::V1EventControl),
    Polled(&v1_release_agent::V1ReleaseAgent),
    Polled(&v1_release_event_control::V1ReleaseEventControl),
    Blocking(&waitpid_main::WaitpidMain),
];

/// Finds one by its id.
pub fn by_id(id: &str) -> Option<AnyDetector> {
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
            for fact in [
                spec.summary,
                spec.escapes,
                spec.late,
                spec.idle_cost,
                spec.overflow,
            ] {
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
            let claims = spec.scope == allgone::scope::Scope::Cgroup;
            assert_eq!(
                crate::record::sees_the_cgroup(spec.id),
                claims,
                "{}",
                spec.id
            );
        }
    }

    #[test]
    fn each_detector_has_the_file_that_its_id_names() {
        for id in DETECTORS.iter().map(|d| d.spec().id) {
            let name = id.replace(['-', '+'], "_");
            let files = ["src", "../allgone/src"]
                .map(|src| format!("{}/{src}/detect/{name}.rs", env!("CARGO_MANIFEST_DIR")));
            assert!(
                files.iter().any(|file| std::path::Path::new(file).exists()),
                "{name}"
            );
        }
    }
}
