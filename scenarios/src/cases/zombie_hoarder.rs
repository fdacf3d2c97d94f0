//! `zombie-hoarder`: a process whose children have all ended, and which never reaps one of them.
//!
//! Zombies still have a number, an entry in /proc and a place under the limit on tasks
//! (`pids.current`), and `kill` finds them. But none of them lives: they are in no list of their
//! cgroup, and whoever counts them as alive waits for ever.

use harness::expect::{Plane, Scope};
use harness::param::{Axis, ParamPoint, Unit};
use harness::trial::Stage;

use super::{SHORT_LIFE, Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// How many.
const ZOMBIES: Axis = Axis {
    name: "zombies",
    unit: Unit::Count,
    default: 8,
    kill_default: None,
    doc: "how many children have ended and are not reaped; a script holds them one by one",
};

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "zombie-hoarder",
    summary: "A process with `zombies` children that have ended and that it never reaps, and \
        which exits after `lifetime`.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[ZOMBIES, SHORT_LIFE],
    sources: &[
        "wait(2), NOTES: zombies",
        "kernel/cgroup/pids.c: pids_release() uncharges when a process is reaped",
        "kernel/cgroup/cgroup.c: css_task_iter_advance() leaves dead leaders out",
    ],
};

/// A parent that never waits.
#[derive(Debug)]
pub(super) struct ZombieHoarder;

impl Scenario for ZombieHoarder {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        // One by one: then it is certain that all have ended, although none is reaped.
        let each = [Op::Fork { block: 1, count: 1 }, Op::AwaitStopped];
        let zombies = usize::try_from(at.get(&ZOMBIES)).unwrap_or(usize::MAX);
        let mut main: Vec<Op> = each
            .into_iter()
            .cycle()
            .take(zombies.saturating_mul(2))
            .collect();
        main.extend([
            Op::Ready,
            Op::Live {
                ns: at.get(&SHORT_LIFE),
            },
        ]);
        Script::new(vec![main, vec![Op::Exit { code: 0 }]])
    }

    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }
}
