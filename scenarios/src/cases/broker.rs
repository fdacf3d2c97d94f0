//! `broker`: a process that asks a daemon outside to fork for it.
//!
//! What the daemon starts is its child, has its user, is in its cgroup and in its session: nothing
//! that the kernel keeps links it to the process that asked. So no mechanism covers it. `at`,
//! `cron`, a container engine and a service manager are such daemons; only their own interface can
//! tell, or end, what was started there.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::{Beside, Stage};

use super::{Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "broker",
    summary: "A process that has a daemon outside fork a child for it, which outlives it by \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage {
        beside: Beside::Broker,
        ..Stage::PLAIN
    },
    axes: &[Beside::LIFETIME],
    sources: &["fork(2)", "at(1)", "cgroups(7)"],
};

/// A process that has another fork for it.
#[derive(Debug)]
pub(super) struct Broker;

impl Scenario for Broker {
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

    /// Nothing links the child to the process that asked.
    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::Part(
            "a daemon outside has forked it: its parent, user, session and cgroup are the daemon's",
        )
    }
}
