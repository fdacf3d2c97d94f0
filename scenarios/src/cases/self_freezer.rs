//! `self-freezer`: a process that freezes the cgroup that it is in.
//!
//! It never runs again unless somebody thaws it, so it never ends, and takes part in no protocol
//! that asks it to. It can be killed as it is.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "self-freezer",
    summary: "A process that freezes its own cgroup, below the site's.",
    planes: &[Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.freeze",
        "kernel/cgroup/freezer.c, cgroup_enter_frozen()",
    ],
};

/// A process that freezes itself.
#[derive(Debug)]
pub(super) struct SelfFreezer;

impl Scenario for SelfFreezer {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![Op::EnterCgroup, Op::Ready, Op::FreezeSelf]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::CgroupAlone => Sees::Part("it is in a cgroup further down"),
            _ => Sees::All,
        }
    }
}
