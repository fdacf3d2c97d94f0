//! `forkbomb-deaf`: a fork bomb that ignores every signal that can be ignored, in sessions of their
//! own.
//!
//! SIGTERM, SIGHUP and the rest have no effect on it; SIGKILL and SIGSTOP cannot be ignored.

use harness::expect::{KillExpectation, Plane, Reach, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{Each, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "forkbomb-deaf",
    summary: "A fork bomb that ignores every signal but SIGKILL and SIGSTOP; every copy begins a \
        session of its own.",
    planes: &[Plane::Kill],
    stage: Stage {
        hostile: true,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &["signal(7)", "setsid(2)"],
};

/// A bomb that ignores what it can.
#[derive(Debug)]
pub(super) struct ForkbombDeaf;

impl Scenario for ForkbombDeaf {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::IgnoreSignals,
            Op::Bomb { each: Each::Setsid },
        ]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_bomb_of_sessions(scope)
    }

    fn expect_kill(&self, at: &ParamPoint, reach: Reach) -> KillExpectation {
        self.sees(at, reach.scope).expect_kill_of_bomb(reach.sweep)
    }
}
