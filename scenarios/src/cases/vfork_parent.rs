//! `vfork-parent`: the main process sleeps in vfork(2) until its child has ended.
//!
//! It is in an uninterruptible sleep that only SIGKILL ends. A stop or a freeze of the group has to
//! wait for it or to count it as frozen; and if it is killed, its child goes on.

use harness::expect::{Expectation, Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "vfork-parent",
    summary: "The main process sleeps in vfork(2) while its child lives for `lifetime`, and \
        then ends.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[SHORT_LIFE],
    sources: &[
        "vfork(2)",
        "kernel/fork.c: wait_for_vfork_done() sleeps killable and counts as frozen",
    ],
};

/// A parent that sleeps in the kernel.
#[derive(Debug)]
pub(super) struct VforkParent;

impl Scenario for VforkParent {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Vfork { block: 1 }],
            vec![
                Op::Ready,
                Op::Live {
                    ns: at.get(&SHORT_LIFE),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_companions(scope)
    }

    // The main process is the last to end, so no scope loses sight of the tree.
    fn expect(&self, at: &ParamPoint, _scope: Scope) -> Expectation {
        Sees::All.expect(self.lifetime_ns(at))
    }
}
