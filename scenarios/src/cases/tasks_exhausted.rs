//! `tasks-exhausted`: sleepers up to the limit on tasks, and no more forks.
//!
//! Whatever has to fork inside the same limit in order to kill (a shell, a helper) cannot. On a
//! hybrid machine the observer is inside that limit.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "tasks-exhausted",
    summary: "As many sleeping processes as the limit on tasks allows.",
    planes: &[Plane::Kill],
    stage: Stage {
        hostile: true,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: pids.max",
        "fork(2): EAGAIN",
    ],
};

/// A full limit on tasks.
#[derive(Debug)]
pub(super) struct TasksExhausted;

impl Scenario for TasksExhausted {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![Op::Fill, Op::Ready, Op::Live { ns: FOREVER }]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::Main => Sees::Part("only the first of many is killed"),
            _ => Sees::All,
        }
    }
}
