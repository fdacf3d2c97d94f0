//! `flapper`: a process that goes from a cgroup below the site's to the site's and back, again and
//! again.
//!
//! What flips with every move: `populated` of the cgroup below, and whether the site's own
//! `cgroup.procs` is empty. `populated` of the site does not flip, and cannot while a process of it
//! lives, because it covers the cgroups below; a delegated process cannot go further up. A walk
//! that reads the two one after the other may find both empty.

use harness::expect::{KillExpectation, Plane, Reach, Scope, Sweep};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "flapper",
    summary: "A process that moves between the site's cgroup and one below it: a few times after \
        `lifetime`, or without end.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        delegated: true,
        ..Stage::PLAIN
    },
    axes: &[SHORT_LIFE],
    sources: &[
        "kernel/cgroup/cgroup.c, cgroup_update_populated(), cgroup_kn_lock_live()",
        "Documentation/admin-guide/cgroup-v2.rst: Delegation Containment",
    ],
};

/// A process on the move.
#[derive(Debug)]
pub(super) struct Flapper;

impl Scenario for Flapper {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        /// A move costs up to 20 ms.
        const FEW: u64 = 5;
        let rest = match at.get(&SHORT_LIFE) {
            FOREVER => vec![Op::Flap { count: FOREVER }],
            ns => vec![Op::Live { ns }, Op::Flap { count: FEW }],
        };
        let mut ops = vec![Op::EnterCgroup, Op::Ready];
        ops.extend(rest);
        Script::new(vec![ops])
    }

    /// It stays below for `lifetime`, and is then on the move.
    fn sees(&self, at: &ParamPoint, scope: Scope) -> Sees {
        match (scope, at.get(&SHORT_LIFE)) {
            (Scope::CgroupAlone, FOREVER) => {
                Sees::Race("it is in the cgroup below half of the time")
            }
            (Scope::CgroupAlone, _) => Sees::Part("it is in a cgroup further down"),
            _ => Sees::All,
        }
    }

    fn expect_kill(&self, at: &ParamPoint, reach: Reach) -> KillExpectation {
        match (reach.scope, reach.sweep) {
            // `cgroup.kill` holds the lock that a move needs, and a frozen process does not move.
            (Scope::Cgroup, Sweep::UntilNone | Sweep::Once) => KillExpectation::MaySurvive(
                "it moves to a cgroup that has just been read from one that has not",
            ),
            _ => self.sees(at, reach.scope).expect_kill(self.lifetime_ns(at)),
        }
    }
}
