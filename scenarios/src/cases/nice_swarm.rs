//! `nice-swarm`: processes that use every processor at the lowest priority.
//!
//! A killed process has to run to die: it gives back its memory and descriptors itself, at its own
//! priority. On a busy machine the last of them dies late.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{COPIES, LIFE_ALONE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "nice-swarm",
    summary: "Processes at nice 19 that use the processors for `lifetime` after their parent.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[COPIES, LIFE_ALONE],
    sources: &[
        "nice(2)",
        "sched(7)",
        "kernel/exit.c: do_exit() runs in the dying task",
    ],
};

/// Processes that use every processor, at the lowest priority.
#[derive(Debug)]
pub(super) struct NiceSwarm;

impl Scenario for NiceSwarm {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Fork {
                block: 1,
                count: count(at, &COPIES),
            }],
            vec![
                Op::Nice { value: 19 },
                Op::AwaitParent,
                Op::Ready,
                Op::Spin {
                    ns: at.get(&LIFE_ALONE),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_orphans(scope)
    }
}
