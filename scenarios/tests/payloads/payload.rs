//! A scenario as a program: what it plays, and how its main process ends.

use harness::expect::Plane;
use harness::param;
use harness::trial::Beside;
use scenarios::actor::script::model::{self, Table};
use scenarios::{Op, SCENARIOS, Scenario, Script};

/// What its processes may have.
const TASKS: u64 = 200;
const MEMORY_BYTES: u64 = 512 << 20;

/// One way of playing a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) id: &'static str,
    /// What the actor is given.
    pub(crate) text: String,
    /// The exit code of its main process; `None`: that lives until it is killed.
    pub(crate) code: Option<i32>,
    /// Whether all of it ends by itself.
    pub(crate) ends: bool,
    /// What a process outside of it does when it asks for that.
    pub(crate) beside: Beside,
    /// Whether it has to find its own cgroup.
    pub(crate) own_cgroup: bool,
    /// Whether it keeps all processors busy while it lives.
    pub(crate) busy: bool,
    /// Limits that it may not exceed.
    pub(crate) tasks: u64,
    pub(crate) memory_bytes: u64,
}

/// All ids.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    SCENARIOS.iter().map(|scenario| scenario.spec().id)
}

impl Payload {
    /// As it ends by itself; `None`: it never does.
    pub(crate) fn that_ends(id: &'static str) -> Option<Self> {
        let stops = scenarios::by_id(id)?.spec().stage.stops;
        Self::of(id, Plane::Detect).filter(|_| !stops)
    }

    /// As it lives until it is killed, or as it is if it always ends.
    pub(crate) fn that_stays(id: &'static str) -> Self {
        let stays = Self::of(id, Plane::Kill).or_else(|| Self::of(id, Plane::Detect));
        stays.expect("a scenario has a plane")
    }

    fn of(id: &'static str, plane: Plane) -> Option<Self> {
        let scenario = scenarios::by_id(id)?;
        let spec = scenario.spec();
        if !spec.planes.contains(&plane) {
            return None;
        }
        let at = param::defaults(spec.axes, plane);
        let script = scenario
            .script(&at, plane, 1)
            .expect("a script that is playable");
        Some(Self {
            id,
            text: script.to_string(),
            code: main_code(&script, scenario),
            ends: script.ends_by_itself(),
            beside: spec.stage.beside,
            own_cgroup: script.needs_own_cgroup(),
            busy: script.blocks.iter().flatten().any(is_busy),
            tasks: TASKS,
            memory_bytes: spec.stage.memory_bytes.unwrap_or(MEMORY_BYTES),
        })
    }
}

/// Whether a process that does this runs all the time, and for long.
fn is_busy(op: &Op) -> bool {
    matches!(
        op,
        Op::Spin { .. }
            | Op::Bomb { .. }
            | Op::ForkExitLoop
            | Op::Flap { .. }
            | Op::Exec { .. }
            | Op::ChurnCgroups { .. }
    )
}

/// How the main process ends, if it does.
fn main_code(script: &Script, scenario: &dyn Scenario) -> Option<i32> {
    let main = script.blocks.first()?;
    if main
        .iter()
        .any(|op| op.never_ends() && *op != Op::ForkExitLoop)
    {
        return None;
    }
    // It may wait for others that live for ever.
    let history = model::play(script, 1_000);
    let stops = scenario.spec().stage.stops;
    let lives = |table: &Table| table.0.first().is_some_and(|main| main.alive);
    if stops || history.at_the_end().is_some_and(|table| lives(&table)) {
        return None;
    }
    match main.last() {
        Some(Op::Exit { code }) => Some((*code).into()),
        Some(Op::Crash) => Some(128 + 11),
        _ => Some(0),
    }
}
