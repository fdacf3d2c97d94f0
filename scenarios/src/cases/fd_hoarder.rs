//! `fd-hoarder`: a process with many open descriptors.
//!
//! They are closed one by one when it dies, before its parent is told. And a process that counts on
//! its own descriptors being few (`select`, a pass over /proc/PID/fd) meets a large number.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// How many.
const FILES: Axis = Axis {
    name: "files",
    unit: Unit::Count,
    default: 2000,
    kill_default: None,
    doc: "how many descriptors are open; the hard limit of the machine is the end",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "fd-hoarder",
    summary: "One process with `files` open descriptors, which exits after `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[FILES, SHORT_LIFE],
    sources: &[
        "getrlimit(2): RLIMIT_NOFILE",
        "fs/file.c: exit_files(), close_files()",
    ],
};

/// Many descriptors.
#[derive(Debug)]
pub(super) struct FdHoarder;

impl Scenario for FdHoarder {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::OpenFiles {
                count: count(at, &FILES),
            },
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
