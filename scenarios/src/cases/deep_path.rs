//! `deep-path`: a process whose working directory has no path.
//!
//! The names of the directories above it are together longer than `PATH_MAX`, so `getcwd` and
//! `/proc/PID/cwd` answer `ENAMETOOLONG`, and a removal by path does not reach it. The directories
//! are on a file system in a mount namespace of its own, which ends with the process.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "deep-path",
    summary: "A process in a directory that lies deeper than a path can be long; it lives for \
        `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[SHORT_LIFE],
    sources: &["path_resolution(7)", "proc_pid_cwd(5)"],
};

/// A process in a deep directory.
#[derive(Debug)]
pub(super) struct DeepPath;

impl Scenario for DeepPath {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["userns"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::EnterDeepDirectory { depth: 40 },
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
