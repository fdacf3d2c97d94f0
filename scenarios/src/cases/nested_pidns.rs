//! `nested-pidns`: a child is the first process of a PID namespace of its own.
//!
//! Inside it has the number 1, the numbers that it reports mean other processes outside, and
//! orphans inside go to it and to nobody else. Outside every process of it still has a number, a
//! parent and the same cgroup. If it is killed, the kernel kills all that are in it.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "nested-pidns",
    summary: "A child in a PID and user namespace of its own, with a child there, lives on for \
        `lifetime` after the main process.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        renumbered: true,
        ..Stage::PLAIN
    },
    axes: &[LIFE_ALONE],
    sources: &[
        "pid_namespaces(7)",
        "user_namespaces(7)",
        "kernel/exit.c: find_child_reaper()",
    ],
};

/// A PID namespace inside the tree.
#[derive(Debug)]
pub(super) struct NestedPidns;

impl Scenario for NestedPidns {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["userns"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let all = Op::Barrier { index: 0, count: 3 };
        Script::new(vec![
            vec![Op::ForkPidns { block: 1 }, all],
            vec![Op::Fork { block: 2, count: 1 }, all, Op::Ready, Op::Reap],
            vec![
                all,
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
