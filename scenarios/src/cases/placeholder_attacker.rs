//! `placeholder-attacker`: a process that stops and kills whatever else is in its cgroup.
//!
//! A mechanism that keeps a process of its own in the site (`prepopulated-cgroup` keeps a
//! placeholder until the workload is in) must not depend on its goodwill, and gives it another user
//! than the workload's, so that the workload may not signal it (kill(2), `EPERM`).

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "placeholder-attacker",
    summary: "A process that tries to stop and to kill all other processes of the site; it lives \
        for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[SHORT_LIFE],
    sources: &["kill(2): EPERM", "kernel/signal.c, kill_ok_by_cred()"],
};

/// A process that attacks what is beside it.
#[derive(Debug)]
pub(super) struct PlaceholderAttacker;

impl Scenario for PlaceholderAttacker {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    // With the harness's own user it could kill the harness's processes, which do not defend
    // themselves against their own user.
    fn needs(&self) -> &'static [&'static str] {
        &["root"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::AttackCgroup,
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    /// Every scope sees it: it is one process, and stays where it was born.
    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
