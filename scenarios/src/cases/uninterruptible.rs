//! `uninterruptible`: a process that sleeps in the kernel, and that no signal wakes.
//!
//! It waits for the mutex of a pipe (state D, `TASK_UNINTERRUPTIBLE`). The mutex is held by a
//! process outside of the tree, which is writing to the pipe from a page of memory that is not
//! there: userfaultfd(2) lets it wait for the page. So a SIGKILL is pending and does nothing, as
//! with a disk or a network file system that does not answer, until the process outside gets its
//! page, `lifetime` after the tree has become complete. Nothing can be reached then that could not
//! be reached before: every strategy has done its part, and the death comes later.

use harness::expect::{Expectation, KillExpectation, Plane, Reach, Scope};
use harness::param::ParamPoint;
use harness::trial::{Beside, Stage};

use super::{Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "uninterruptible",
    summary: "The process sleeps uninterruptibly, for 0.2 s after it has said that it will.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        beside: Beside::Holder,
        ..Stage::PLAIN
    },
    axes: &[],
    sources: &[
        "userfaultfd(2)",
        "fs/pipe.c: anon_pipe_read() and anon_pipe_write() take the mutex uninterruptibly",
    ],
};

/// A process that cannot be woken.
#[derive(Debug)]
pub(super) struct Uninterruptible;

impl Scenario for Uninterruptible {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["userfaultfd"]
    }

    fn script(&self, _at: &ParamPoint, plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let mut ops = vec![Op::Ask, Op::Ready, Op::ReadGiven];
        if plane == Plane::Kill {
            ops.push(Op::Live { ns: FOREVER });
        }
        Script::new(vec![ops])
    }

    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }

    fn expect(&self, _at: &ParamPoint, _scope: Scope) -> Expectation {
        Sees::All.expect(0)
    }

    fn expect_kill(&self, _at: &ParamPoint, _reach: Reach) -> KillExpectation {
        KillExpectation::Empties
    }
}
