//! `realtime-hog`: processes that take a real-time priority and compute.
//!
//! Where they compute, nothing else does but for the few per cent that the kernel keeps back: a
//! watcher or a killer of the usual priority may have to wait for it. Death is not slower: a
//! process with a pending SIGKILL needs the processor, and has it.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, FOREVER, ParamPoint, Unit};
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

const COMPUTES: Axis = Axis {
    name: "lifetime",
    unit: Unit::Nanoseconds,
    // Too short for certainty: where it computes, a watcher may not run before it has ended.
    default: 10_000_000,
    kill_default: Some(FOREVER),
    doc: "how long the child computes after the main process has ended",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "realtime-hog",
    summary: "The main process ends; its child has a real-time priority and computes for \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        realtime: true,
        ..Stage::PLAIN
    },
    axes: &[COMPUTES],
    sources: &[
        "sched(7): SCHED_FIFO, sched_rt_runtime_us",
        "kernel/sched/syscalls.c: without real-time bandwidth in its v1 cpu cgroup a process is \
            refused (CONFIG_RT_GROUP_SCHED)",
    ],
};

/// A process that leaves no processor to others.
#[derive(Debug)]
pub(super) struct RealtimeHog;

impl Scenario for RealtimeHog {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["realtime"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Fork { block: 1, count: 1 }],
            vec![
                Op::AwaitParent,
                Op::Realtime,
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
