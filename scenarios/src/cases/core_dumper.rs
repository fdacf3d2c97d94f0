//! `core-dumper`: a process dies of SIGSEGV, with a core dump where the system allows one, and
//! another goes on.
//!
//! A crash is an end like any other for its cgroup. A dump delays it: the process lives until the
//! kernel or the program in `core_pattern` has taken it, after it has said that it ends.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "core-dumper",
    summary: "One child crashes; another lives on for `lifetime` after the main process.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[LIFE_ALONE],
    sources: &["core(5)", "fs/coredump.c: do_coredump()"],
};

/// A crash beside a process that goes on.
#[derive(Debug)]
pub(super) struct CoreDumper;

impl Scenario for CoreDumper {
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
            vec![Op::Touch { bytes: 8 << 20 }, Op::Crash],
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
