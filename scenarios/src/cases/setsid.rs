//! `setsid`: a textbook daemon: double fork, a new session, every descriptor closed.
//!
//! It is not even hostile: every traditional service does this. It leaves the process group, the
//! session and every inherited pipe behind; what it cannot leave is the cgroup, the PID namespace,
//! the user, and its subreaper.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "setsid",
    summary: "A daemon: two forks, a session of its own, every descriptor closed; it lives on for \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[LIFE_ALONE],
    sources: &["daemon(7)", "setsid(2)"],
};

/// A daemon.
#[derive(Debug)]
pub(super) struct Setsid;

impl Scenario for Setsid {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Fork { block: 1, count: 1 }],
            // Both wait for their parents to end, so that the process that says "ready" is the only
            // one left.
            vec![Op::Setsid, Op::Fork { block: 2, count: 1 }, Op::AwaitParent],
            vec![
                Op::CloseAll,
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
            Scope::Main => Sees::Part("the main process has ended, the daemon is alive"),
            Scope::ProcessGroup => Sees::Part("the daemon has left the process group"),
            Scope::Session => Sees::Part("the daemon is in a session of its own"),
            Scope::FdHolders => Sees::Part("the daemon has closed every descriptor"),
            Scope::LinkedDescendants => Sees::Race(
                "the daemon is an orphan: a mechanism that has not seen it before its parents \
                    ended finds no link to it",
            ),
            Scope::ReapedDescendants
            | Scope::User
            | Scope::PidNamespace
            | Scope::Cgroup
            | Scope::CgroupAlone
            | Scope::SystemWide => Sees::All,
        }
    }
}
