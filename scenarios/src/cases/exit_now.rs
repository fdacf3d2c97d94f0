//! `exit-now`: one process that ends by itself.
//!
//! The easy case, and the one in which the notification gap of `cgroup.events` shows: at lifetime 0
//! birth and end fall into one 10 ms window. A detector that is wrong here is broken.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "exit-now",
    summary: "One process, which exits after `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[SHORT_LIFE],
    sources: &[
        "kernel/cgroup/cgroup.c, cgroup_file_notify(): CGROUP_FILE_NOTIFY_MIN_INTV (b12e35832805, \
            v4.18)",
    ],
};

/// One process, and then none.
#[derive(Debug)]
pub(super) struct ExitNow;

impl Scenario for ExitNow {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
