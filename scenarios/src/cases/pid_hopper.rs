//! `pid-hopper`: every process forks once and ends. Their number never changes, their pids always
//! do.
//!
//! A list of pids is out of date before it has been read, and a pid that was read may already
//! belong to another process. Unlike a bomb it never reaches a limit, so no fork is refused.

use harness::expect::{KillExpectation, Plane, Reach, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// How many.
const HOPPERS: Axis = Axis {
    name: "hoppers",
    unit: Unit::Count,
    default: 8,
    kill_default: None,
    doc: "how many processes hop at the same time",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "pid-hopper",
    summary: "Processes that fork once and end, for ever: the population is constant, its numbers \
        never are.",
    planes: &[Plane::Kill],
    stage: Stage {
        hostile: true,
        ..Stage::PLAIN
    },
    axes: &[HOPPERS],
    sources: &["kernel/fork.c, copy_process()", "kernel/pid.c, alloc_pid()"],
};

/// Hoppers.
#[derive(Debug)]
pub(super) struct PidHopper;

impl Scenario for PidHopper {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let count = u32::try_from(at.get(&HOPPERS)).unwrap_or(u32::MAX);
        let all = Op::Barrier {
            index: 0,
            count: count.saturating_add(1),
        };
        Script::new(vec![
            vec![Op::Fork { block: 1, count }, all],
            vec![all, Op::AwaitParent, Op::Ready, Op::ForkExitLoop],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::Main => Sees::Part("the main process has ended long ago"),
            Scope::LinkedDescendants => Sees::Part("every process is an orphan"),
            Scope::ReapedDescendants | Scope::FdHolders | Scope::SystemWide => {
                Sees::Race("a process that is found has ended before it is signalled")
            }
            Scope::ProcessGroup
            | Scope::Session
            | Scope::User
            | Scope::PidNamespace
            | Scope::Cgroup
            | Scope::CgroupAlone => Sees::All,
        }
    }

    fn expect_kill(&self, at: &ParamPoint, reach: Reach) -> KillExpectation {
        self.sees(at, reach.scope).expect_kill_of_bomb(reach.sweep)
    }
}
