//! `no-exit-signal`: children whose end sends no signal (clone with exit signal 0).
//!
//! A parent that waits for SIGCHLD sleeps on, and a plain `waitpid` does not even find such a
//! child: it is a "clone child" that takes `__WALL` or `__WCLONE`. An orphan gets SIGCHLD as its
//! exit signal when it is handed over.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "no-exit-signal",
    summary: "Two children without an exit signal: one is a zombie that no signal told of, \
        the other lives on for `lifetime` after the main process.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[LIFE_ALONE],
    sources: &[
        "clone(2): the child termination signal",
        "wait(2): __WCLONE, __WALL",
        "kernel/exit.c: eligible_child(), reparent_leader()",
    ],
};

/// Children that end in silence.
#[derive(Debug)]
pub(super) struct NoExitSignal;

impl Scenario for NoExitSignal {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            // The first has ended, and is not reaped, before the second begins.
            vec![
                Op::ForkSilent { block: 1 },
                Op::AwaitStopped,
                Op::ForkSilent { block: 2 },
            ],
            vec![Op::Exit { code: 0 }],
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
