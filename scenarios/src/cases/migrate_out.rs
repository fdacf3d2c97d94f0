//! `migrate-out`: a process that tries every way out of its cgroup.
//!
//! Within what was delegated it moves as it likes, and goes to a cgroup below first. Every cgroup
//! above, and the one beside the trial, refuses it, through `cgroup.procs`, through
//! `cgroup.threads` and as the birthplace of a child (`CLONE_INTO_CGROUP`): writing to the common
//! ancestor's `cgroup.procs` is what the kernel asks for, and that was not delegated. A way that is
//! open would let it be missed, and fail the trial.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "migrate-out",
    summary: "A process that tries to move, and to fork, into every cgroup outside of the site; it \
        lives for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[SHORT_LIFE],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: Delegation Containment",
        "kernel/cgroup/cgroup.c, cgroup_attach_permissions(), cgroup_css_set_fork()",
    ],
};

/// A process that tries to leave.
#[derive(Debug)]
pub(super) struct MigrateOut;

impl Scenario for MigrateOut {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    // With the harness's own user it would be let out: then it owns the cgroups above as well.
    fn needs(&self) -> &'static [&'static str] {
        &["root"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::EnterCgroup,
            Op::Escape,
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::CgroupAlone => Sees::Part("it has moved to a cgroup further down"),
            _ => Sees::All,
        }
    }
}
