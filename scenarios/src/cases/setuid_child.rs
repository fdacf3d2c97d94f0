//! `setuid-child`: a process of another user in the cgroup.
//!
//! What a set-user-ID program or a privileged service leaves in the cgroup of the process that
//! asked for it. Actors cannot execute a set-user-ID program (`no_new_privs`), so the harness,
//! which is root, moves the process there; it is no descendant. What ends all processes of one user
//! misses it, and a killer without privilege may not signal it; the kernel's own `cgroup.kill` asks
//! nobody.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::{Beside, Stage};

use super::{Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "setuid-child",
    summary: "A process of another user moves into the cgroup and outlives the main process by \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        beside: Beside::Stranger,
        ..Stage::PLAIN
    },
    axes: &[Beside::LIFETIME],
    sources: &["kill(2): EPERM", "credentials(7)"],
};

/// A process of another user.
#[derive(Debug)]
pub(super) struct SetuidChild;

impl Scenario for SetuidChild {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["root"]
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
            Scope::User => Sees::Part("it has another user"),
            Scope::Cgroup | Scope::CgroupAlone => Sees::All,
        }
    }
}
