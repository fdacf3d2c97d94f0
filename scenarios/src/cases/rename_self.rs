//! `rename-self`: processes whose name is made to mislead readers of `/proc/PID/stat`.
//!
//! The name stands there in parentheses, unescaped, and may contain a closing one, blanks and a new
//! line. Who looks for the first `)` reads a state and a parent that the process has chosen: here a
//! zombie, whose parent is process 0. The name ends at the *last* parenthesis.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{COPIES, LIFE_ALONE, Scenario, ScenarioSpec, count};
use crate::script::{Comm, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "rename-self",
    summary: "Processes named `) Z 0 0 0 0 (` and a new line, which live on for `lifetime` \
        after their parent.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[COPIES, LIFE_ALONE],
    sources: &[
        "proc_pid_stat(5)",
        "PR_SET_NAME(2const)",
        "fs/proc/array.c: do_task_stat()",
    ],
};

/// Processes whose name looks like the fields behind it.
#[derive(Debug)]
pub(super) struct RenameSelf;

impl Scenario for RenameSelf {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let name = Comm::new(b") Z 0 0 0 0 (\n").ok_or(ScriptError::Empty)?;
        Script::new(vec![
            vec![
                Op::Rename { name },
                Op::Fork {
                    block: 1,
                    count: count(at, &COPIES),
                },
            ],
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
