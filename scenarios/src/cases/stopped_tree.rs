//! `stopped-tree`: every process of the tree has stopped itself.
//!
//! Nothing ends, so every waiter waits for ever: that a tree does nothing does not mean that it is
//! over. Each child has a session of its own. If it were stopped in the main process's group, a
//! kill of the main process alone would make that group an orphaned one with stopped jobs, and the
//! kernel would send SIGHUP to all of it, bystanders included: strategies that signal one by one
//! did that to a process of the group outside of the tree (Linux 6.18).

use harness::expect::{Expectation, Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{COPIES, Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "stopped-tree",
    summary: "Every process stops itself (SIGSTOP) and never goes on; each child has a session \
        of its own.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        stops: true,
        ..Stage::PLAIN
    },
    axes: &[COPIES],
    sources: &[
        "signal(7): SIGSTOP",
        "setpgid(2): orphaned process groups",
        "kernel/exit.c: kill_orphaned_pgrp()",
    ],
};

/// Processes that have stopped themselves.
#[derive(Debug)]
pub(super) struct StoppedTree;

impl Scenario for StoppedTree {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let each = [Op::Fork { block: 1, count: 1 }, Op::AwaitStopped];
        let copies = usize::try_from(at.get(&COPIES)).unwrap_or(usize::MAX);
        let for_ever = Op::Live { ns: FOREVER };
        let mut main: Vec<Op> = each
            .into_iter()
            .cycle()
            .take(copies.saturating_mul(2))
            .collect();
        main.extend([Op::Ready, Op::Stop, for_ever]);
        Script::new(vec![main, vec![Op::Setsid, Op::Stop, for_ever]])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::ProcessGroup => Sees::Part("the children have left the process group"),
            Scope::Session => Sees::Part("each child is in a session of its own"),
            other => Sees::of_companions(other),
        }
    }

    // The main process lives for ever, too, so there is nothing to lose sight of.
    fn expect(&self, _at: &ParamPoint, _scope: Scope) -> Expectation {
        Sees::All.expect(FOREVER)
    }
}
