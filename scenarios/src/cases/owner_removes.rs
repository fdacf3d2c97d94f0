//! `owner-removes`: one process that ends, and an owner that removes its cgroup at once.
//!
//! Two parties: one waits for the cgroup to become empty; the other waits with `waitpid` and
//! removes it inside the kernel's notification window. The pending notification is deleted with the
//! file, and the waiter is never woken: the lost wake-up.

use harness::expect::{Expectation, KillExpectation, Plane, Reach, Scope};
use harness::param::{FOREVER, ParamPoint};
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "owner-removes",
    summary: "One process, which exits after `lifetime`, and a second party that then removes its \
        cgroup at once.",
    planes: &[Plane::Detect],
    stage: Stage {
        owner_removes: true,
        ..Stage::PLAIN
    },
    axes: &[SHORT_LIFE],
    sources: &[
        "kernel/cgroup/cgroup.c, cgroup_rm_file(): the pending notification is cancelled",
        "fs/kernfs/file.c, kernfs_drain_open_files(): no poller is woken",
    ],
};

/// One process, and an owner that removes the cgroup at once.
#[derive(Debug)]
pub(super) struct OwnerRemoves;

impl Scenario for OwnerRemoves {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }

    fn expect(&self, at: &ParamPoint, scope: Scope) -> Expectation {
        match scope {
            Scope::Cgroup | Scope::CgroupAlone if at.get(&SHORT_LIFE) != FOREVER => {
                Expectation::MayBeLost(
                    "the pending notification is deleted together with the cgroup",
                )
            }
            _ => self.sees(at, scope).expect(self.lifetime_ns(at)),
        }
    }

    fn expect_kill(&self, _at: &ParamPoint, _reach: Reach) -> KillExpectation {
        KillExpectation::NotApplicable("the tree ends by itself before its cgroup is removed")
    }
}
