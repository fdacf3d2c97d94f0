//! `kernel-leftovers`: processes that make objects which outlive them.
//!
//! Shared memory, semaphores and message queues of System V and a POSIX message queue belong to no
//! process and to no cgroup. When the last process has ended the set is empty, and a mechanism that
//! says so is right; the objects are still there, and only their names lead to them. The trial
//! checks that they are, and removes them.
//!
//! A pinned BPF object is another such thing, and no adversary can make one: bpf(2) answers `EPERM`
//! to a process without privileges (`kernel.unprivileged_bpf_disabled`; kernel/bpf/syscall.c,
//! `bpf_prog_load()` and `map_create()` ask for `CAP_BPF`), and a token of its own user namespace
//! needs a file system that root has mounted for it.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "kernel-leftovers",
    summary: "The main process ends; its child makes shared memory, semaphores and message queues, \
        lives for `lifetime`, and leaves them behind.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        leaves_objects: true,
        ..Stage::PLAIN
    },
    axes: &[LIFE_ALONE],
    sources: &[
        "sysvipc(7): persistence",
        "mq_overview(7): kernel persistence",
    ],
};

/// Processes that something is left of.
#[derive(Debug)]
pub(super) struct KernelLeftovers;

impl Scenario for KernelLeftovers {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["kernel-objects"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Fork { block: 1, count: 1 }],
            vec![
                Op::AwaitParent,
                Op::LeaveObjects,
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
