//! `big-rss`: a process with much memory.
//!
//! SIGKILL is instantaneous, dying is not: the process itself returns page by page before its
//! cgroup is empty and its parent is told.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// How much.
const MEBIBYTES: Axis = Axis {
    name: "mebibytes",
    unit: Unit::Count,
    default: 64,
    kill_default: None,
    doc: "how much memory is written to; a trial may have 512 MiB",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "big-rss",
    summary: "One process that has written to `mebibytes` of memory, and exits after \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[MEBIBYTES, SHORT_LIFE],
    sources: &["kernel/exit.c: exit_mm()", "mm/mmap.c: exit_mmap()"],
};

/// Much memory to give back.
#[derive(Debug)]
pub(super) struct BigRss;

impl Scenario for BigRss {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let bytes = at.get(&MEBIBYTES).saturating_mul(1 << 20);
        Script::new(vec![vec![
            Op::Touch { bytes },
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]])
    }

    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
