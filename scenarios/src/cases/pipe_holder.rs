//! `pipe-holder`: a background process with a session of its own that keeps its standard output
//! open.
//!
//! Whoever reads the program's output until end of file waits for it, although the program has long
//! ended and nothing of its session is left: `ssh host 'cmd &'` and CI runners that hang are this
//! tree. A signal to the group or the session does not reach it.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "pipe-holder",
    summary: "A child in a session of its own keeps every inherited descriptor open and lives on \
        for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[LIFE_ALONE],
    sources: &[
        "setsid(2)",
        "pipe(7): end of file comes when all write ends are closed",
    ],
};

/// A holder of pipes.
#[derive(Debug)]
pub(super) struct PipeHolder;

impl Scenario for PipeHolder {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Fork { block: 1, count: 1 }],
            vec![
                Op::Setsid,
                Op::AwaitParent,
                Op::Ready,
                Op::Live {
                    ns: at.get(&LIFE_ALONE),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::Main => Sees::Part("the main process has ended, the holder is alive"),
            Scope::ProcessGroup => Sees::Part("the holder has left the process group"),
            Scope::Session => Sees::Part("the holder is in a session of its own"),
            Scope::LinkedDescendants => Sees::Race(
                "the holder is an orphan: a mechanism that has not seen it before its parent ended \
                    finds no link to it",
            ),
            Scope::FdHolders
            | Scope::ReapedDescendants
            | Scope::User
            | Scope::PidNamespace
            | Scope::Cgroup
            | Scope::CgroupAlone
            | Scope::SystemWide => Sees::All,
        }
    }
}
