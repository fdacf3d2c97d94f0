//! `exec-storm`: processes that execute one program after another, `#!` files among them.
//!
//! Number, cgroup, group and session stay. But what `/proc` says of the process (its name, its
//! program, its memory, who may trace it) is another process's from one read to the next, and a
//! signal arrives while the kernel has one memory half taken down and the other half built. An exec
//! cannot be stopped or frozen half-way.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, FOREVER, ParamPoint, Unit};
use harness::trial::Stage;

use super::{COPIES, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

const EXECS: Axis = Axis {
    name: "execs",
    unit: Unit::Count,
    default: 8,
    kill_default: Some(FOREVER),
    doc: "how many programs each process executes",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "exec-storm",
    summary: "The main process ends; its children execute a program `execs` times in a row, by way \
        of a `#!` file every second time, and end.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[COPIES, EXECS],
    sources: &[
        "execve(2): interpreter scripts",
        "fs/exec.c: begin_new_exec() is the point of no return",
    ],
};

/// Processes that never stay what they are.
#[derive(Debug)]
pub(super) struct ExecStorm;

impl Scenario for ExecStorm {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
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
                Op::Exec {
                    count: at.get(&EXECS),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_orphans(scope)
    }

    // An exec takes as long as it takes.
    fn lifetime_ns(&self, at: &ParamPoint) -> u64 {
        match at.get(&EXECS) {
            FOREVER => FOREVER,
            _ => 0,
        }
    }
}
