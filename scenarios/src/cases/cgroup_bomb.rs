//! `cgroup-bomb`: a process that makes hundreds of cgroups, removes them, and begins again.
//!
//! Each takes `cgroup_mutex`, which a write to `cgroup.kill` or `cgroup.freeze` waits for as well,
//! and a walk meets directories that are gone when it opens them. Its number is bounded; a site
//! that bounds it itself sets `cgroup.max.descendants`.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// How many at a time.
const CGROUPS: Axis = Axis {
    name: "cgroups",
    unit: Unit::Count,
    default: 200,
    kill_default: None,
    doc: "how many cgroups there are at most below the site",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "cgroup-bomb",
    summary: "A process that makes `cgroups` cgroups below the site's, removes them, and so on \
        without end.",
    planes: &[Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[CGROUPS],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.max.descendants",
        "kernel/cgroup/cgroup.c, cgroup_kn_lock_live()",
    ],
};

/// A process that makes cgroups.
#[derive(Debug)]
pub(super) struct CgroupBomb;

impl Scenario for CgroupBomb {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let count = count(at, &CGROUPS);
        Script::new(vec![vec![Op::ChurnCgroups { count }]])
    }

    /// Every scope sees it: it is one process, and stays where it was born.
    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
