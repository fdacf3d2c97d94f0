//! `program-is-pid-1`: the main process is the first process of a PID namespace, as in a container
//! without an init.
//!
//! Every orphan becomes its child, and when it ends, the kernel kills all others and waits for
//! them. So whoever knows its end knows the end of all, and whoever kills it kills all; but a
//! signal that it has not asked for has no effect on it, SIGTERM included, unless it is SIGKILL or
//! SIGSTOP from outside.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{COPIES, LIFE_ALONE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "program-is-pid-1",
    summary: "The main process is PID 1 of a PID namespace; its daemons live for `lifetime`, \
        and it reaps them and ends.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        pid_1: true,
        ..Stage::PLAIN
    },
    axes: &[COPIES, LIFE_ALONE],
    sources: &[
        "pid_namespaces(7): the namespace init process",
        "kernel/pid_namespace.c: zap_pid_ns_processes()",
    ],
};

/// A program as the first process of a PID namespace.
#[derive(Debug)]
pub(super) struct ProgramIsPid1;

impl Scenario for ProgramIsPid1 {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["pid-namespace"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![
                Op::Fork {
                    block: 1,
                    count: count(at, &COPIES),
                },
                Op::Barrier {
                    index: 0,
                    count: count(at, &COPIES).saturating_add(1),
                },
                Op::Ready,
                Op::Reap,
            ],
            vec![
                Op::Setsid,
                Op::CloseAll,
                Op::Barrier {
                    index: 0,
                    count: count(at, &COPIES).saturating_add(1),
                },
                Op::Live {
                    ns: at.get(&LIFE_ALONE),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
