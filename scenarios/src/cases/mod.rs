//! The scenarios: one file each, named after its id.
//!
//! Invariant: nothing here knows a detector or a strategy. A scenario answers for a scope
//! ([`Scope`]) or a reach ([`Reach`]), and for all of them.

mod big_rss;
mod broker;
mod cgroup_bomb;
mod chmod_000_cgroup;
mod clone_parent;
mod core_dumper;
mod cpu_throttled;
mod deep_cgroups;
mod deep_path;
mod exec_from_thread;
mod exec_storm;
mod exit_now;
mod fd_hoarder;
mod flapper;
mod fork_exit;
mod forkbomb;
mod forkbomb_deaf;
mod forkbomb_nested;
mod forkbomb_setsid;
mod frozen_child_cgroup;
mod io_uring_worker;
mod kernel_leftovers;
mod late_joiner;
mod leaderless;
mod limit_eater;
mod many_threads;
mod memory_hog;
mod migrate_out;
mod mount_cgroup2;
mod mount_inside;
mod nested_cgroups;
mod nested_pidns;
mod nested_subreaper;
mod nice_swarm;
mod no_exit_signal;
mod owner_removes;
mod pid_hopper;
mod pid_reuse;
mod pipe_holder;
mod placeholder_attacker;
mod program_is_pid_1;
mod ptraced;
mod realtime_hog;
mod rename_self;
mod self_freezer;
mod setsid;
mod setuid_child;
mod signal_ignorer;
mod sleepers;
mod stopped_tree;
mod tail;
mod tasks_exhausted;
mod threaded_cgroup;
mod uninterruptible;
mod vfork_parent;
mod zombie_hoarder;

use std::fmt;

use harness::expect::{Expectation, KillExpectation, Plane, Reach, Scope};
use harness::param::{Axis, FOREVER, ParamPoint, Unit};
use harness::trial::Stage;

use crate::script::{Script, ScriptError};
use crate::visibility::Sees;

/// The facts about a scenario.
#[derive(Clone, Copy, Debug)]
pub struct ScenarioSpec {
    /// Kebab-case; the file's name with `-` for `_`.
    pub id: &'static str,
    /// One sentence: what the tree does.
    pub summary: &'static str,
    /// Where it can be played.
    pub planes: &'static [Plane],
    /// What it requires of its surroundings.
    pub stage: Stage,
    /// What can be varied.
    pub axes: &'static [Axis],
    /// The sources of its expectations: man page sections, kernel files and commits.
    pub sources: &'static [&'static str],
}

/// One hostile workload.
pub trait Scenario: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static ScenarioSpec;

    /// Features of the machine ([`harness::host::features`]) without which it cannot be played.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Why it can be played on no machine, if that is so.
    fn unfit(&self) -> Option<&'static str> {
        None
    }

    /// What its tree plays. Pure: the same for the same point, plane and seed.
    fn script(&self, at: &ParamPoint, plane: Plane, seed: u64) -> Result<Script, ScriptError>;

    /// What a mechanism of this scope sees of the tree.
    fn sees(&self, at: &ParamPoint, scope: Scope) -> Sees;

    /// How long the tree lives on by itself, from when it is complete: the axis `lifetime`. Without
    /// one, for ever.
    fn lifetime_ns(&self, at: &ParamPoint) -> u64 {
        let mut axes = self.spec().axes.iter();
        axes.find(|axis| axis.name == SHORT_LIFE.name)
            .map_or(FOREVER, |axis| at.get(axis))
    }

    /// What a detector of this scope ought to say.
    fn expect(&self, at: &ParamPoint, scope: Scope) -> Expectation {
        if !self.spec().planes.contains(&Plane::Detect) {
            return Expectation::NotApplicable("it never ends by itself");
        }
        self.sees(at, scope).expect(self.lifetime_ns(at))
    }

    /// What a strategy of this reach ought to leave alive.
    fn expect_kill(&self, at: &ParamPoint, reach: Reach) -> KillExpectation {
        self.sees(at, reach.scope).expect_kill(self.lifetime_ns(at))
    }
}

/// All scenarios, sorted by id.
pub static SCENARIOS: &[&dyn Scenario] = &[
    &big_rss::BigRss,
    &broker::Broker,
    &cgroup_bomb::CgroupBomb,
    &chmod_000_cgroup::Chmod000Cgroup,
    &clone_parent::CloneParent,
    &core_dumper::CoreDumper,
    &cpu_throttled::CpuThrottled,
    &deep_cgroups::DeepCgroups,
    &deep_path::DeepPath,
    &exec_from_thread::ExecFromThread,
    &exec_storm::ExecStorm,
    &exit_now::ExitNow,
    &fd_hoarder::FdHoarder,
    &flapper::Flapper,
    &fork_exit::ForkExit,
    &forkbomb::Forkbomb,
    &forkbomb_deaf::ForkbombDeaf,
    &forkbomb_nested::ForkbombNested,
    &forkbomb_setsid::ForkbombSetsid,
    &frozen_child_cgroup::FrozenChildCgroup,
    &io_uring_worker::IoUringWorker,
    &kernel_leftovers::KernelLeftovers,
    &late_joiner::LateJoiner,
    &leaderless::Leaderless,
    &limit_eater::LimitEater,
    &many_threads::ManyThreads,
    &memory_hog::MemoryHog,
    &migrate_out::MigrateOut,
    &mount_cgroup2::MountCgroup2,
    &mount_inside::MountInside,
    &nested_cgroups::NestedCgroups,
    &nested_pidns::NestedPidns,
    &nested_subreaper::NestedSubreaper,
    &nice_swarm::NiceSwarm,
    &no_exit_signal::NoExitSignal,
    &owner_removes::OwnerRemoves,
    &pid_hopper::PidHopper,
    &pid_reuse::PidReuse,
    &pipe_holder::PipeHolder,
    &placeholder_attacker::PlaceholderAttacker,
    &program_is_pid_1::ProgramIsPid1,
    &ptraced::Ptraced,
    &realtime_hog::RealtimeHog,
    &rename_self::RenameSelf,
    &self_freezer::SelfFreezer,
    &setsid::Setsid,
    &setuid_child::SetuidChild,
    &signal_ignorer::SignalIgnorer,
    &sleepers::Sleepers,
    &stopped_tree::StoppedTree,
    &tail::Tail,
    &tasks_exhausted::TasksExhausted,
    &threaded_cgroup::ThreadedCgroup,
    &uninterruptible::Uninterruptible,
    &vfork_parent::VforkParent,
    &zombie_hoarder::ZombieHoarder,
];

/// Finds one by its id.
pub fn by_id(id: &str) -> Option<&'static dyn Scenario> {
    SCENARIOS.iter().copied().find(|s| s.spec().id == id)
}

/// How long a tree lives after its start, for scenarios in which the main process is the last.
const SHORT_LIFE: Axis = Axis {
    name: "lifetime",
    unit: Unit::Nanoseconds,
    default: 0,
    kill_default: Some(FOREVER),
    doc: "how long the process lives after its start",
};

/// From this lifetime on the cost of waiting is measured.
const LONG_LIFE_NS: u64 = 1_000_000_000;

/// Whether a tree sleeps for so long at this point that what a detector does meanwhile can be
/// measured.
pub fn sleeps(scenario: &dyn Scenario, at: &ParamPoint) -> bool {
    let has_one = scenario
        .spec()
        .axes
        .iter()
        .any(|axis| axis.name == SHORT_LIFE.name);
    has_one && scenario.lifetime_ns(at) >= LONG_LIFE_NS
}

/// How long a tree lives on without its main process.
const LIFE_ALONE: Axis = Axis {
    name: "lifetime",
    unit: Unit::Nanoseconds,
    default: 50_000_000,
    kill_default: Some(FOREVER),
    doc: "how long the tree lives on after its main process has ended",
};

/// How many processes of the same kind there are beside the main process.
const COPIES: Axis = Axis {
    name: "copies",
    unit: Unit::Count,
    default: 4,
    kill_default: None,
    doc: "how many processes of the kind there are beside the main process",
};

/// The value of a counting axis, as operations take it.
fn count(at: &ParamPoint, axis: &Axis) -> u32 {
    u32::try_from(at.get(axis)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
