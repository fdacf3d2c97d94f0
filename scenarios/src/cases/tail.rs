//! `tail`: the main process exits with code 7, and the rest of its tree ends later.
//!
//! A launcher that takes the exit code for the end reports a result while parts of the program
//! still write to its files. The code is no sign of the end, and the end of the rest does not
//! change it.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{COPIES, LIFE_ALONE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "tail",
    summary: "The main process exits with code 7; its children live on for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[COPIES, LIFE_ALONE],
    sources: &[
        "wait(2)",
        "kernel/exit.c: forget_original_parent() hands children to the nearest \
            subreaper",
    ],
};

/// Children that outlive a program with an exit code.
#[derive(Debug)]
pub(super) struct Tail;

impl Scenario for Tail {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![
                Op::Fork {
                    block: 1,
                    count: count(at, &COPIES),
                },
                Op::Exit { code: 7 },
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
