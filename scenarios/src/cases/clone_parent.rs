//! `clone-parent`: the main process makes a sibling: a child of its own parent (`CLONE_PARENT`).
//!
//! The parent gets a child that it did not start: `wait` for any child returns a stranger, and a
//! walk from the main process down the parent links never finds it.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "clone-parent",
    summary: "The main process makes a sibling (CLONE_PARENT) and ends; the sibling lives on \
        for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[LIFE_ALONE],
    sources: &[
        "clone(2): CLONE_PARENT",
        "kernel/fork.c: copy_process() sets real_parent",
    ],
};

/// A sibling instead of a child.
#[derive(Debug)]
pub(super) struct CloneParent;

impl Scenario for CloneParent {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let both = Op::Barrier { index: 0, count: 2 };
        Script::new(vec![
            vec![Op::ForkParent { block: 1 }, both],
            vec![
                both,
                Op::Ready,
                Op::Live {
                    ns: at.get(&LIFE_ALONE),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::LinkedDescendants => {
                Sees::Part("the sibling has never been a child of the main process")
            }
            other => Sees::of_orphans(other),
        }
    }
}
