//! `cpu-throttled`: processes that have used up their share of the processor time.
//!
//! A process that may not run does not die either: the signal is there, and the process acts on it
//! when the kernel lets it run again. So a kill is followed by silence for up to a period, and what
//! has been killed is listed as alive meanwhile.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, FOREVER, ParamPoint, Unit};
use harness::trial::Stage;

use super::{COPIES, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

const COMPUTES: Axis = Axis {
    name: "lifetime",
    unit: Unit::Nanoseconds,
    default: 50_000_000,
    kill_default: Some(FOREVER),
    doc: "how long the children compute after the main process has ended",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "cpu-throttled",
    summary: "The main process ends; its children compute for `lifetime`, with a twentieth of a \
        processor for all of them.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        throttled: true,
        ..Stage::PLAIN
    },
    axes: &[COPIES, COMPUTES],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cpu.max",
        "Documentation/scheduler/sched-bwc.rst",
        "kernel/sched/fair.c: throttle_cfs_rq(); since Linux 6.18 a task is throttled on its way \
            to user space",
    ],
};

/// Processes that die slowly.
#[derive(Debug)]
pub(super) struct CpuThrottled;

impl Scenario for CpuThrottled {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["cpu-limit"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Fork {
                block: 1,
                count: count(at, &COPIES),
            }],
            vec![
                Op::AwaitParent,
                Op::Ready,
                Op::Spin {
                    ns: at.get(&COMPUTES),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_orphans(scope)
    }
}
