//! `fork-exit`: the main process leaves at once, its child lives on.
//!
//! Every launcher that waits only for its child gets this wrong: the child is an orphan, still in
//! the same group, session and cgroup.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "fork-exit",
    summary: "The main process forks and exits; the child lives on for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[LIFE_ALONE],
    sources: &[
        "wait(2)",
        "kernel/exit.c, forget_original_parent(): orphans go to the nearest subreaper",
    ],
};

/// An orphan.
#[derive(Debug)]
pub(super) struct ForkExit;

impl Scenario for ForkExit {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Fork { block: 1, count: 1 }],
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
