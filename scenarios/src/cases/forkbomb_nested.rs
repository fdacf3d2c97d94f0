//! `forkbomb-nested`: a fork bomb in which every copy makes a cgroup below its parent's and moves
//! there.
//!
//! A strategy that reads one `cgroup.procs` sees almost no process. The tree of cgroups grows while
//! it is walked, to a depth of dozens, and making them takes the same lock (`cgroup_mutex`) that a
//! write to `cgroup.kill` or `cgroup.freeze` waits for.

use harness::expect::{KillExpectation, Plane, Reach, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{Each, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "forkbomb-nested",
    summary: "A fork bomb in which every copy makes a cgroup below its parent's and moves there.",
    planes: &[Plane::Kill],
    stage: Stage {
        hostile: true,
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: Delegation",
        "kernel/cgroup/cgroup.c: cgroup_kn_lock_live()",
    ],
};

/// A bomb that makes nested cgroups.
#[derive(Debug)]
pub(super) struct ForkbombNested;

impl Scenario for ForkbombNested {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![Op::Bomb {
            each: Each::EnterCgroup,
        }]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::CgroupAlone => Sees::Part("every copy is in a cgroup further down"),
            other => Sees::of_bomb(other),
        }
    }

    fn expect_kill(&self, at: &ParamPoint, reach: Reach) -> KillExpectation {
        self.sees(at, reach.scope).expect_kill_of_bomb(reach.sweep)
    }
}
