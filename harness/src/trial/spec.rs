//! The specification of one trial: everything that is decided before it starts.

use std::time::Duration;

use super::Workload;
use crate::MonoNs;
use crate::detect::AnyDetector;
use crate::expect::{Canary, Expectation, KillExpectation, Plane};
use crate::kill::AnyStrategy;
use crate::param::{Axis, FOREVER, ParamPoint, Unit};

/// Limits around a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tasks (`pids.max`). The harness needs a few for itself inside a v1 limit; it adds them.
    pub tasks: u64,
    /// Memory, where there is a memory controller.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// 64 tasks (a bomb fills them in 0.1 s) and 512 MiB.
    fn default() -> Self {
        Self {
            tasks: 64,
            memory_bytes: 512 << 20,
        }
    }
}

/// What is expected of the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Of the detector.
    Detect(Expectation),
    /// Of the strategy.
    Kill(KillExpectation),
}

/// What a scenario requires of its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stage {
    /// It can exhaust the machine: refuse to start it without a pids limit.
    pub hostile: bool,
    /// Actors may make sub-cgroups of the site: hand the directory to their user.
    pub delegated: bool,
    /// A second party removes the site as soon as the main process has ended.
    pub owner_removes: bool,
    /// The kill waits until an actor says that the tree is complete
    /// ([`crate::sys::ledger::Ledger::set_ready`]).
    pub says_ready: bool,
    /// What a process outside of the tree does when the tree asks for it
    /// ([`crate::sys::ledger::Ledger::ask`]).
    pub beside: Beside,
    /// Its main process is the first process of a PID namespace of its own.
    pub pid_1: bool,
    /// Its processes do not all have the numbers in the ledger that they have here: some are in
    /// another PID namespace.
    pub renumbered: bool,
    /// It stops itself and never goes on: nothing is gained by waiting for long where nothing is
    /// killed.
    pub stops: bool,
    /// The memory that it may have, if that is less than the trial's limit: it goes beyond it, and
    /// the kernel's OOM killer ends one process of it.
    pub memory_bytes: Option<u64>,
    /// Its main process has a real-time priority when the observer lets it go (the operation
    /// `wait-go`), and its children inherit that.
    pub realtime: bool,
    /// It has a twentieth of a processor.
    pub throttled: bool,
    /// It leaves objects of the kernel behind, called [`crate::sys::ledger::Ledger::tag`]; the
    /// trial checks that they are there, and removes them.
    pub leaves_objects: bool,
    /// It is given a set-user-ID copy of its program, which belongs to a user that no other process
    /// has, and there is no `no_new_privs`, so that the kernel heeds it. Needs root.
    pub setuid: bool,
}

/// A process outside of the tree that has to do with it. It is started before the mechanisms are,
/// and ended with the trial.
///
/// A process that it lets live outlives the main process by [`Beside::LIFETIME`]. It is entered in
/// the ledger, so the oracle counts it as one of the tree's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Beside {
    /// There is none.
    #[default]
    Nobody,
    /// It forks a child, which stays outside of the site.
    Broker,
    /// It moves into the site, and has the actors' user.
    Joiner,
    /// It holds the mutex of a pipe that the tree is given, for [`Beside::HOLDS`] after it was
    /// asked: whoever reads from the pipe sleeps uninterruptibly meanwhile. Needs root.
    Holder,
    /// It gets the pid of a member of the tree that has just been reaped, and must not be hit. It
    /// is not asked.
    ReusedPid,
}

impl Beside {
    /// How long [`Beside::Holder`] holds the pipe.
    pub const HOLDS: Duration = Duration::from_millis(200);

    /// How long what comes from it lives on after the main process has ended.
    pub const LIFETIME: Axis = Axis {
        name: "lifetime",
        unit: Unit::Nanoseconds,
        default: 150_000_000,
        kill_default: Some(FOREVER),
        doc: "how long the tree lives on after its main process has ended",
    };
}

impl Stage {
    /// Nothing but to wait until an actor says that the tree is complete.
    pub const PLAIN: Self = Self {
        hostile: false,
        delegated: false,
        owner_removes: false,
        says_ready: true,
        beside: Beside::Nobody,
        pid_1: false,
        renumbered: false,
        stops: false,
        memory_bytes: None,
        realtime: false,
        throttled: false,
        leaves_objects: false,
        setuid: false,
    };
}

/// One trial, ready to be run.
#[derive(Debug)]
pub struct TrialSpec<'a> {
    /// Place in the run's order; also names the trial's cgroup.
    pub seq: u32,
    /// Scenario id, for the record.
    pub scenario: &'a str,
    /// What is started.
    pub workload: Workload,
    /// What the scenario asks for.
    pub stage: Stage,
    /// Values of all axes.
    pub params: ParamPoint,
    /// Seed of the script, for the record.
    pub seed: u64,
    /// The detector.
    pub detector: AnyDetector,
    /// The strategy, in the kill plane.
    pub strategy: Option<AnyStrategy>,
    /// What is expected.
    pub expected: Expected,
    /// How long the detector may wait, and how long the processes may take to die after a kill.
    pub deadline: Duration,
    /// Limits around the workload.
    pub limits: Limits,
    /// Idle time between the last migration and the arming: back-to-back trials hide the cost of
    /// RCU grace periods.
    pub gap: Duration,
    /// How it is measured.
    pub conditions: Conditions,
}

/// How a trial is measured. The default is that of a plain run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Open loop: the workload is to be started at this moment, or at once if it has passed. The
    /// detector is armed before.
    pub intended: Option<MonoNs>,
    /// The one processor that the observer may run on; otherwise the harness's.
    pub observer_cpu: Option<usize>,
    /// The one processor that the workload may run on; otherwise the observer's.
    pub workload_cpu: Option<usize>,
    /// Record the stages from exit to verdict with the kernel's tracepoints
    /// ([`crate::record::Stages`]). This changes what it measures.
    pub trace: bool,
    /// The tree sleeps for a second or more: sample what the observer costs meanwhile (detect
    /// plane). The harness wakes up for each sample.
    pub idle: bool,
}

impl TrialSpec<'_> {
    /// How long the tree may take to reach the state in which it is killed. Tasks that each have a
    /// session of their own also have their own share of the CPU (sched(7), autogroup): with a
    /// thousand of them the observer gets a thousandth.
    pub(super) fn ready_timeout(&self) -> Duration {
        /// For each task that the limit allows.
        const EACH: Duration = Duration::from_millis(30);
        let tasks = u32::try_from(self.limits.tasks).unwrap_or(u32::MAX);
        Duration::from_secs(10) + EACH.saturating_mul(tasks)
    }

    /// How long the detector may wait.
    pub(super) fn patience(&self) -> Duration {
        /// For the verdict about a tree that never goes on.
        const OF_STOPPED: Duration = Duration::from_millis(300);
        match (self.plane(), self.stage.stops) {
            (Plane::Detect, true) => self.deadline.min(OF_STOPPED),
            _ => self.deadline,
        }
    }

    /// The limits, the scenario's own included.
    pub(super) fn limits(&self) -> Limits {
        let own = self.stage.memory_bytes.unwrap_or(u64::MAX);
        Limits {
            memory_bytes: self.limits.memory_bytes.min(own),
            ..self.limits
        }
    }

    /// Whether the OOM killer may end so many processes of the tree without a word.
    pub(super) fn allows(&self, ended: usize, by_oom: u64) -> bool {
        self.stage.memory_bytes.is_some() && u64::try_from(ended).is_ok_and(|n| n <= by_oom)
    }

    /// The canaries that the strategy states that it may hit.
    pub(super) fn may_hit(&self) -> Vec<Canary> {
        let stated = self.strategy.map_or(&[][..], |s| s.spec().may_hit);
        stated.iter().copied().map(crate::kill::canary).collect()
    }

    /// Which plane the trial belongs to.
    pub fn plane(&self) -> Plane {
        if self.strategy.is_some() {
            Plane::Kill
        } else {
            Plane::Detect
        }
    }
}
