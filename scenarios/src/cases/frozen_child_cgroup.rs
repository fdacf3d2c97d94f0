//! `frozen-child-cgroup`: a process that has put another into a cgroup and frozen it.
//!
//! A polite signal stays pending there. `SIGKILL` does not: since the freezer of version 2 a frozen
//! process can be killed. In version 1 it cannot.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "frozen-child-cgroup",
    summary: "A process, and another in a frozen cgroup below the site's; neither ends.",
    planes: &[Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.freeze",
        "kernel/signal.c, do_freezer_trap()",
    ],
};

/// A frozen cgroup.
#[derive(Debug)]
pub(super) struct FrozenChildCgroup;

impl Scenario for FrozenChildCgroup {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let both = Op::Barrier { index: 0, count: 2 };
        let sleep = Op::Live { ns: FOREVER };
        Script::new(vec![
            vec![
                Op::EnterCgroup,
                Op::Fork { block: 1, count: 1 },
                Op::LeaveCgroup,
                both,
                Op::FreezeLeft,
                Op::Ready,
                sleep,
            ],
            vec![both, sleep],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::Main => Sees::Part("the frozen process is another"),
            Scope::CgroupAlone => Sees::Part("the frozen process is in a cgroup further down"),
            _ => Sees::All,
        }
    }
}
