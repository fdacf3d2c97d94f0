//! `nested-subreaper`: the main process is a subreaper itself and takes an orphan that an outer
//! subreaper waits for.
//!
//! While it lives, the orphan is its child and nobody else is told of its end. When it ends, the
//! orphan goes to the next subreaper above, so an outer one loses nothing; one that has counted
//! orphans as they arrive has.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "nested-subreaper",
    summary: "The main process becomes a subreaper, adopts an orphan and ends; the orphan \
        lives on for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[LIFE_ALONE],
    sources: &[
        "PR_SET_CHILD_SUBREAPER(2const)",
        "kernel/exit.c: find_new_reaper()",
    ],
};

/// A subreaper inside the tree.
#[derive(Debug)]
pub(super) struct NestedSubreaper;

impl Scenario for NestedSubreaper {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let both = Op::Barrier { index: 0, count: 2 };
        Script::new(vec![
            vec![Op::Subreaper, Op::Fork { block: 1, count: 1 }, both],
            vec![Op::Fork { block: 2, count: 1 }],
            vec![
                Op::AwaitParent,
                both,
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
