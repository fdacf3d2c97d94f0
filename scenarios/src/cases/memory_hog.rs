//! `memory-hog`: a process goes beyond its limit on memory, and the kernel ends it; the rest of the
//! tree goes on.
//!
//! The OOM killer picks one process, not the tree (unless `memory.oom.group` says so). A launcher
//! that takes "OOM-killed" for the end forgets the others. Without a limit on memory the process
//! ends by itself.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// What its trial may have.
const LIMIT_BYTES: u64 = 64 << 20;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "memory-hog",
    summary: "One process exceeds the limit on memory and is killed by the kernel; another \
        lives on for `lifetime` after the main process.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        memory_bytes: Some(LIMIT_BYTES),
        ..Stage::PLAIN
    },
    axes: &[LIFE_ALONE],
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: memory.max, memory.oom.group",
        "mm/oom_kill.c: oom_kill_process()",
    ],
};

/// A process that the OOM killer ends.
#[derive(Debug)]
pub(super) struct MemoryHog;

impl Scenario for MemoryHog {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![
                Op::Fork { block: 1, count: 1 },
                Op::AwaitStopped,
                Op::Fork { block: 2, count: 1 },
            ],
            vec![Op::Touch {
                bytes: 2 * LIMIT_BYTES,
            }],
            vec![
                Op::AwaitParent,
                Op::Ready,
                Op::Live {
                    ns: at.get(&LIFE_ALONE),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_orphans(scope)
    }
}
