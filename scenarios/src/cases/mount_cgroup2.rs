//! `mount-cgroup2`: a process that mounts cgroup2 for itself.
//!
//! In a user, a mount and a cgroup namespace of its own any user may. Its cgroup is the root of
//! that mount, so there is nothing above to move to, and the files in it have the owners that they
//! have everywhere.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "mount-cgroup2",
    summary: "A process that mounts cgroup2 in namespaces of its own and tries to leave its cgroup \
        by it; it lives for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[SHORT_LIFE],
    sources: &[
        "cgroup_namespaces(7)",
        "kernel/cgroup/cgroup.c, cgroup_do_get_tree()",
    ],
};

/// A process with its own view of the hierarchy.
#[derive(Debug)]
pub(super) struct MountCgroup2;

impl Scenario for MountCgroup2 {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["userns"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::MountCgroup2,
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    /// Every scope sees it: it is one process, and stays where it was born.
    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
