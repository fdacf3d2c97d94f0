//! `pid-reuse`: a member ends, and a process outside gets its pid.
//!
//! A strategy that has noted a number and kills by it later hits the outsider; `pidfd_send_signal`
//! does not. The outsider is a canary, and the trial fails if it is hit.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::{Beside, Stage};

use super::{Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "pid-reuse",
    summary: "A process that lives until it is killed, and a grandchild that has ended and whose \
        pid a process outside gets.",
    planes: &[Plane::Kill],
    stage: Stage {
        beside: Beside::ReusedPid,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &[
        "pidfd_send_signal(2)",
        "clone3(2): set_tid",
        "kernel/pid.c, alloc_pid()",
    ],
};

/// A number that is used twice.
#[derive(Debug)]
pub(super) struct PidReuse;

impl Scenario for PidReuse {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let fork = |block| Op::Fork { block, count: 1 };
        Script::new(vec![
            vec![
                fork(1),
                Op::Barrier { index: 0, count: 2 },
                Op::Ready,
                Op::Live { ns: FOREVER },
            ],
            vec![fork(2)],
            // An orphan, which the harness reaps.
            vec![Op::AwaitParent, Op::Barrier { index: 0, count: 2 }],
        ])
    }

    /// The main process is the only one that lives.
    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
