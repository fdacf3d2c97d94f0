//! `deep-cgroups`: one process at the end of a deep chain of cgroups.
//!
//! A walk that recurses, or that builds paths, needs stack and descriptors in proportion, and
//! removal has to begin at the far end. `cgroup.max.depth` would bound it, and is not limited
//! unless somebody does.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// How deep.
const DEPTH: Axis = Axis {
    name: "depth",
    unit: Unit::Count,
    default: 100,
    kill_default: None,
    doc: "how many cgroups deep the process hides; up to 1500",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "deep-cgroups",
    summary: "A process in a cgroup so many levels (`depth`) below the site's; it lives for \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[SHORT_LIFE, DEPTH],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.max.depth",
        "kernel/cgroup/cgroup.c, cgroup_check_hierarchy_limits()",
    ],
};

/// A deep chain of cgroups.
#[derive(Debug)]
pub(super) struct DeepCgroups;

impl Scenario for DeepCgroups {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let depth = count(at, &DEPTH);
        Script::new(vec![vec![
            Op::EnterDeepCgroup { depth },
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::CgroupAlone => Sees::Part("it is in a cgroup further down"),
            _ => Sees::All,
        }
    }
}
