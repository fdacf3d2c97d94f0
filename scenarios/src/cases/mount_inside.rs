//! `mount-inside`: a process with a mount namespace of its own and file systems in it.
//!
//! Nobody outside sees them, and nobody has to unmount them: the kernel does when the last process
//! of the namespace has ended.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "mount-inside",
    summary: "A process with eight file systems, each mounted in the one before, in a mount \
        namespace of its own; it lives for `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[SHORT_LIFE],
    sources: &["mount_namespaces(7)", "fs/namespace.c, put_mnt_ns()"],
};

/// A process with mounts.
#[derive(Debug)]
pub(super) struct MountInside;

impl Scenario for MountInside {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn needs(&self) -> &'static [&'static str] {
        &["userns"]
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![vec![
            Op::MountInside { count: 8 },
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
