//! `nested-cgroups`: an orphaned chain of three processes, each in a cgroup below its parent's.
//!
//! What reads one `cgroup.procs`, or the state of one level, sees none of them. `populated` of the
//! site covers all levels.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "nested-cgroups",
    summary: "Three processes that outlive the main process by `lifetime`, each in a cgroup below \
        its parent's.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[LIFE_ALONE],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: Delegation",
        "kernel/cgroup/cgroup.c, cgroup_update_populated()",
    ],
};

/// A chain of cgroups.
#[derive(Debug)]
pub(super) struct NestedCgroups;

impl Scenario for NestedCgroups {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let all = Op::Barrier { index: 0, count: 4 };
        let live = Op::Live {
            ns: at.get(&LIFE_ALONE),
        };
        let fork = |block| Op::Fork { block, count: 1 };
        Script::new(vec![
            vec![fork(1), all],
            vec![
                Op::EnterCgroup,
                fork(2),
                all,
                Op::AwaitParent,
                Op::Ready,
                live,
            ],
            vec![Op::EnterCgroup, fork(3), all, live],
            vec![Op::EnterCgroup, all, live],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::Main => Sees::Part("the main process has ended, three others are alive"),
            Scope::CgroupAlone => Sees::Part("each process is in a cgroup further down"),
            Scope::LinkedDescendants => Sees::Race(
                "they are orphans: a mechanism that has not seen them before the main process \
                    ended finds no link to them",
            ),
            _ => Sees::All,
        }
    }
}
