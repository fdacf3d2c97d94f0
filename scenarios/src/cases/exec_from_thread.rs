//! `exec-from-thread`: a thread that is not the first executes a program.
//!
//! The kernel ends the first thread and gives its number to the one that called. So one number ends
//! that lives on, and another vanishes without an end: whoever keeps books of threads by their
//! numbers, a tracer among them, is wrong in both, and a pidfd of the first thread
//! (`PIDFD_THREAD`) is not what it was.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{COPIES, LIFE_ALONE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "exec-from-thread",
    summary: "The main process ends; its children execute a program, each from its second thread, \
        and live on for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[COPIES, LIFE_ALONE],
    sources: &[
        "execve(2): effect on process attributes",
        "ptrace(2): execve(2) under ptrace",
        "fs/exec.c: de_thread() takes over the number of the first thread",
    ],
};

/// Programs that are executed by a thread other than the first.
#[derive(Debug)]
pub(super) struct ExecFromThread;

impl Scenario for ExecFromThread {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let barrier = Op::Barrier {
            index: 0,
            count: count(at, &COPIES),
        };
        Script::new(vec![
            vec![Op::Fork {
                block: 1,
                count: count(at, &COPIES),
            }],
            vec![
                Op::AwaitParent,
                Op::ExecFromThread,
                // All have done it when "ready" is said.
                barrier,
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
