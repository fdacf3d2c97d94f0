//! `setuid-child`: a process of the tree becomes another user.
//!
//! It executes a set-user-ID program, as `su`, `sudo` or a mail server's delivery agent is one, and
//! takes that user for good. It is a child like the others, in the same group, session and cgroup;
//! but what ends all processes of one user misses it, and a killer without privileges may not
//! signal it (kill(2): `EPERM`). The kernel's own `cgroup.kill` does not look at users.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{LIFE_ALONE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "setuid-child",
    summary: "A child executes a set-user-ID program, becomes its user, and outlives the main \
        process by `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        setuid: true,
        ..Stage::PLAIN
    },
    axes: &[LIFE_ALONE],
    sources: &[
        "execve(2): set-user-ID",
        "setresuid(2)",
        "kill(2): EPERM",
        "kernel/signal.c: kill_ok_by_cred()",
    ],
};

/// A process of another user.
#[derive(Debug)]
pub(super) struct SetuidChild;

impl Scenario for SetuidChild {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["setuid-file"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![Op::Fork { block: 1, count: 1 }],
            vec![
                Op::BecomeOther,
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
            Scope::User => Sees::Part("it has become another user"),
            other => Sees::of_orphans(other),
        }
    }
}
