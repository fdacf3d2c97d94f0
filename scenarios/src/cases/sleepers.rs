//! `sleepers`: a number of processes that sleep. It is no adversary: it measures what a kill costs
//! per process.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{Scenario, ScenarioSpec};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

/// How many, beside the main process.
const SLEEPERS: Axis = Axis {
    name: "sleepers",
    unit: Unit::Count,
    default: 10,
    kill_default: None,
    doc: "how many processes sleep beside the main process; more than 64 need a wider limit \
        (--tasks)",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "sleepers",
    summary: "So many processes that sleep until they are killed.",
    planes: &[Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[SLEEPERS],
    sources: &["clock_nanosleep(2)"],
};

/// Many sleeping processes.
#[derive(Debug)]
pub(super) struct Sleepers;

impl Scenario for Sleepers {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let count = u32::try_from(at.get(&SLEEPERS)).unwrap_or(u32::MAX);
        let all = Op::Barrier {
            index: 0,
            count: count.saturating_add(1),
        };
        let sleep = Op::Live { ns: FOREVER };
        Script::new(vec![
            vec![Op::Fork { block: 1, count }, all, Op::Ready, sleep],
            vec![all, sleep],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_companions(scope)
    }
}
