//! `forkbomb-setsid`: a fork bomb in which every copy begins a session of its own.
//!
//! The smallest change that defeats `killpg`: each copy is alone in its process group and session.
//! (The first process is not: it leads its group already, and `setsid` refuses a group leader.)

use harness::expect::{KillExpectation, Plane, Reach, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{Each, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "forkbomb-setsid",
    summary: "A fork bomb in which every copy begins a session of its own.",
    planes: &[Plane::Kill],
    stage: Stage {
        hostile: true,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &["setsid(2)", "kernel/fork.c, copy_process()"],
};

/// A bomb in many sessions.
#[derive(Debug)]
pub(super) struct ForkbombSetsid;

impl Scenario for ForkbombSetsid {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![Op::Bomb { each: Each::Setsid }]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_bomb_of_sessions(scope)
    }

    fn expect_kill(&self, at: &ParamPoint, reach: Reach) -> KillExpectation {
        self.sees(at, reach.scope).expect_kill_of_bomb(reach.sweep)
    }
}
