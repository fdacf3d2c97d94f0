//! `io-uring-worker`: a process for which workers of the kernel sleep in operations that never
//! complete.
//!
//! The workers are threads of the process: they count as tasks, no tracer and no signal reaches
//! them, and the process is not dead before the kernel has ended each of them.

use harness::expect::{Expectation, Plane, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

const WORKERS: Axis = Axis {
    name: "workers",
    unit: Unit::Count,
    default: 8,
    kill_default: None,
    doc: "how many operations wait, each in a worker of its own",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "io-uring-worker",
    summary: "A process with `workers` io_uring workers that sleep in the kernel lives for \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[WORKERS, SHORT_LIFE],
    sources: &[
        "io_uring_enter(2): IOSQE_ASYNC",
        "io_uring/io-wq.c: create_io_thread() makes a thread that no signal but SIGKILL ends",
        "kernel/exit.c: do_exit() calls io_uring_files_cancel() first",
    ],
};

/// A process with threads of the kernel's making.
#[derive(Debug)]
pub(super) struct IoUringWorker;

impl Scenario for IoUringWorker {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["io-uring-unprivileged"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::IoWorkers {
                count: count(at, &WORKERS),
            },
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }

    // There is one process, so no scope loses sight of the tree.
    fn expect(&self, at: &ParamPoint, _scope: Scope) -> Expectation {
        Sees::All.expect(self.lifetime_ns(at))
    }
}
