//! `ptraced`: a process that is traced and stopped by another process of the tree.
//!
//! It is stopped for its tracer, not by job control: SIGCONT does not wake it, every signal but
//! SIGKILL waits for the tracer, and no other process can trace it. Where a tracer from outside
//! follows the tree already, the process cannot be traced again and ends at once; its parent lives
//! on all the same.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "ptraced",
    summary: "A child that outlives the main process traces a stopped child of its own, lets \
        it go on after `lifetime`, and ends.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[LIFE_ALONE],
    sources: &[
        "ptrace(2)",
        "kernel/ptrace.c: exit_ptrace() lets tracees go on when their tracer ends",
        "kernel/signal.c: ptrace_stop()",
    ],
};

/// A traced process and its tracer.
#[derive(Debug)]
pub(super) struct Ptraced;

impl Scenario for Ptraced {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let ns = at.get(&LIFE_ALONE);
        let mut tracer = vec![
            Op::AwaitParent,
            Op::Trace { block: 2 },
            Op::AwaitStopped,
            Op::Ready,
            Op::Live { ns },
        ];
        if ns != FOREVER {
            tracer.push(Op::Continue);
        }
        Script::new(vec![
            vec![Op::Fork { block: 1, count: 1 }],
            tracer,
            vec![Op::Stop],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_orphans(scope)
    }
}
