//! `forkbomb`: a process that forks itself for ever, and so does every copy.
//!
//! It grows until the limit stops it and keeps trying, so every place that a strategy frees is
//! filled at once. It stays in its process group: a signal to the group and a fork exclude each
//! other in the kernel, so `killpg` ends it.

use harness::expect::{KillExpectation, Plane, Reach, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{Each, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "forkbomb",
    summary: "A process that forks itself for ever, and so does every copy; all in one process \
        group.",
    planes: &[Plane::Kill],
    stage: Stage {
        hostile: true,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &[
        "kernel/fork.c, copy_process(): a child is linked into its group under tasklist_lock, and \
            the fork is given up if a signal is pending",
        "kernel/signal.c, __kill_pgrp_info() and kill_something_info(): group and broadcast \
            signals hold tasklist_lock",
    ],
};

/// A bomb.
#[derive(Debug)]
pub(super) struct Forkbomb;

impl Scenario for Forkbomb {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![Op::Bomb {
            each: Each::Nothing,
        }]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_bomb(scope)
    }

    fn expect_kill(&self, at: &ParamPoint, reach: Reach) -> KillExpectation {
        self.sees(at, reach.scope).expect_kill_of_bomb(reach.sweep)
    }
}
