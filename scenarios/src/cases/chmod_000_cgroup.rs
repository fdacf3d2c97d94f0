//! `chmod-000-cgroup`: a process in a cgroup of its own that it has made unreadable.
//!
//! Directory and files belong to the process's user. Root reads them all the same
//! (`CAP_DAC_OVERRIDE`); another owner of the site cannot walk there, but needs no walk:
//! `populated` and `cgroup.kill` of the site cover it.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "chmod-000-cgroup",
    summary: "A process in a cgroup below the site's without any permissions; it lives for \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[SHORT_LIFE],
    sources: &[
        "capabilities(7): CAP_DAC_OVERRIDE",
        "fs/kernfs/inode.c, kernfs_iop_permission()",
    ],
};

/// A process in a locked cgroup.
#[derive(Debug)]
pub(super) struct Chmod000Cgroup;

impl Scenario for Chmod000Cgroup {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    // What is not root could not see for itself what survives, nor clean up by a walk.
    fn needs(&self) -> &'static [&'static str] {
        &["root"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::EnterCgroup,
            Op::LockCgroup,
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
