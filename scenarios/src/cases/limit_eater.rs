//! `limit-eater`: a tree that takes every task and every descriptor that its limits allow.
//!
//! What a mechanism needs inside the tree's limits (a process beside it, a fork to look at it) is
//! refused from then on. What it needs outside of them is not.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// More than the limit of a trial allows.
const TASKS: u32 = 100;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "limit-eater",
    summary: "The main process opens descriptors and forks until a limit refuses; all live on \
        for `lifetime` after it.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        hostile: true,
        ..Stage::PLAIN
    },
    axes: &[LIFE_ALONE],
    sources: &[
        "getrlimit(2): RLIMIT_NPROC, RLIMIT_NOFILE",
        "Documentation/admin-guide/cgroup-v2.rst: pids.max",
    ],
};

/// All places under the limits are taken.
#[derive(Debug)]
pub(super) struct LimitEater;

impl Scenario for LimitEater {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![
                Op::OpenFiles { count: 1000 },
                Op::Fork {
                    block: 1,
                    count: TASKS,
                },
            ],
            vec![
                Op::AwaitParent,
                Op::Ready,
                Op::Live {
                    ns: at.get(&LIFE_ALONE),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_orphans(scope)
    }
}
