//! `many-threads`: one process with many threads that sleep.
//!
//! A thread has a number of its own, counts against the limit on tasks, and ends one by one: each
//! exit is an event for whoever counts exits, and none but the last is the end of the process.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// How many, beside the first.
const THREADS: Axis = Axis {
    name: "threads",
    unit: Unit::Count,
    default: 32,
    kill_default: None,
    doc: "how many threads sleep beside the first; more than 63 need a wider limit (--tasks)",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "many-threads",
    summary: "One process with `threads` threads beside its first, which exits after \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[THREADS, SHORT_LIFE],
    sources: &[
        "pthreads(7)",
        "kernel/exit.c: do_group_exit(), zap_other_threads()",
        "kernel/cgroup/pids.c: threads are counted",
    ],
};

/// A process of many threads.
#[derive(Debug)]
pub(super) struct ManyThreads;

impl Scenario for ManyThreads {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::Threads {
                count: count(at, &THREADS),
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
}
