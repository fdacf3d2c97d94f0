//! `threaded-cgroup`: a process in a threaded cgroup.
//!
//! `cgroup.procs` of such a cgroup answers `EOPNOTSUPP`, and so does its `cgroup.kill`; a walk that
//! takes that for "empty" is wrong, one that gives up is, too. Its processes are listed in the
//! cgroup at the root of the threaded part: the site's own, which `populated` and `cgroup.kill`
//! cover as ever.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "threaded-cgroup",
    summary: "A process in a threaded cgroup below the site's, whose cgroup.procs cannot be read; \
        it lives for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[SHORT_LIFE],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: Threads",
        "kernel/cgroup/cgroup.c, cgroup_procs_start(), cgroup_kill_write()",
    ],
};

/// A process in a threaded cgroup.
#[derive(Debug)]
pub(super) struct ThreadedCgroup;

impl Scenario for ThreadedCgroup {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::EnterThreadedCgroup,
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    /// Every scope sees it: the site's own `cgroup.procs` lists it as well.
    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
