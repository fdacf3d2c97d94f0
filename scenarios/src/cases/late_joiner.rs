//! `late-joiner`: a process that was born elsewhere and is moved into the cgroup.
//!
//! A debugger's helper, `cgexec`, or whatever else has the right, puts a process there while the
//! main process lives. It has the workload's user, and is in none of the sets that birth decides.
//! What follows the births of the tree does not see it; what asks the cgroup does.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::{Beside, Stage};

use super::{Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "late-joiner",
    summary: "A process of the same user, born elsewhere, moves into the cgroup and outlives the \
        main process by `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        beside: Beside::Joiner,
        ..Stage::PLAIN
    },
    axes: &[Beside::LIFETIME],
    sources: &[
        "cgroups(7): cgroup.procs",
        "Documentation/admin-guide/cgroup-v2.rst: Processes",
    ],
};

/// A process from elsewhere.
#[derive(Debug)]
pub(super) struct LateJoiner;

impl Scenario for LateJoiner {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, _at: &ParamPoint, plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let mut ops = vec![Op::Ask, Op::Ready];
        if plane == Plane::Kill {
            ops.push(Op::Live { ns: FOREVER });
        }
        Script::new(vec![ops])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        match scope {
            Scope::Main => Sees::Part("the main process has ended, another is in the cgroup"),
            Scope::ProcessGroup | Scope::Session => {
                Sees::Part("it was born elsewhere, with a session of its own")
            }
            Scope::ReapedDescendants | Scope::LinkedDescendants => {
                Sees::Part("it is no descendant of the main process")
            }
            Scope::FdHolders => Sees::Part("it has inherited nothing from the main process"),
            Scope::PidNamespace => Sees::Part("it was born outside of the PID namespace"),
            // Both kinds have this scope, and a scenario does not know which it has before it.
            Scope::SystemWide => Sees::Race(
                "found by its membership; not found where births below the main process are \
                    followed",
            ),

            Scope::Cgroup | Scope::CgroupAlone | Scope::User => Sees::All,
        }
    }
}
