//! Which trees a mechanism gets, and what is expected of it.

use std::sync::OnceLock;
use std::time::Duration;

use harness::detect::{AnyDetector, DetectorSpec, Signal};
use harness::expect::{Expectation, KillExpectation, Plane, Scope, Sweep};
use harness::host::bugs::{self, Presence};
use harness::kill::AnyStrategy;
use harness::param;
use harness::trial::{Expected, Limits, Stage, TrialSpec};
use scenarios::script::model::{self, Ending};
use scenarios::script::{Bounds, FOREVER, Op, Script, random};

use crate::common::{base, spec};

/// What a verdict and the death of a tree may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether a detector claims to see every process of any tree here, from birth to death.
pub(crate) fn is_sound(spec: &DetectorSpec) -> bool {
    let sees_all = matches!(
        spec.scope,
        Scope::Cgroup
            | Scope::ReapedDescendants
            | Scope::User
            | Scope::PidNamespace
            | Scope::SystemWide
    );
    sees_all
        && spec.signal == Signal::Emptiness
        && harness::detect::expectation(spec, Expectation::Sound, false) == Expectation::Sound
}

/// A tree that ends by itself.
///
/// Errors: in the model the scope of the detector is empty while a process lives.
pub(super) fn to_watch(seed: u64, spec: &DetectorSpec) -> Result<Script, String> {
    let bounds = Bounds {
        // It removes empty cgroups, one that a process has just made and is about to enter, too.
        cgroups: spec.id != "cgroup-rmdir-probe",
        others: true,
        // It says that such a child escapes it: the parent may be a process of the harness by then.
        siblings: spec.id != "proc-connector",
        ..Bounds::default()
    };
    let script = random(seed, &bounds);
    match model::play(&script, usize::MAX).emptied(spec.scope) {
        Some((_, 0)) => Ok(script),
        other => Err(format!(
            "the model has {other:?} of seed {seed}: {script:?}"
        )),
    }
}

/// A tree of which parts live until they are killed, and which says "ready" at some point: the kill
/// meets it at rest or in the middle of its forks.
pub(super) fn to_kill(seed: u64, strategy: AnyStrategy) -> Result<Script, String> {
    let bounds = Bounds {
        cgroups: true,
        others: true,
        ..Bounds::default()
    };
    let mut blocks = random(seed, &bounds).blocks;
    for (at, ops) in (0u32..).zip(&mut blocks) {
        if meets_the_bug(strategy) {
            ops.retain(|op| *op != Op::ExitLeader);
        }
        // Bits of the seed decide; a tree of one block always stays.
        let stays = seed.rotate_right(at) & 1 == 1 || at == 0 && !seed.is_multiple_of(4);
        if stays && !ops.last().is_some_and(|op| op.is_last()) {
            ops.push(Op::Live { ns: FOREVER });
        }
    }
    if let Ok(script) = Script::new(blocks.clone())
        && says_ready(&script)
    {
        return Ok(script);
    }
    // A process that stays may keep others waiting for ever.
    let waits = |op: &Op| matches!(op, Op::Barrier { .. } | Op::AwaitParent | Op::Reap);
    for ops in &mut blocks {
        ops.retain(|op| !waits(op));
    }
    blocks[0].insert(0, Op::Ready);
    Script::new(blocks).map_err(|e| format!("seed {seed}: {e}"))
}

/// Whether it can be killed: in the model "ready" is said.
pub(super) fn says_ready(script: &Script) -> bool {
    let history = model::play(script, usize::MAX);
    history.when_ready().is_some() && !matches!(history.ending, Ending::Stuck { .. })
}

/// The trial of a tree.
pub(super) fn trial<'a>(
    script: &Script,
    detector: AnyDetector,
    strategy: Option<AnyStrategy>,
) -> Result<TrialSpec<'a>, String> {
    let any = scenarios::by_id("exit-now").ok_or("not registered")?;
    let plane = strategy.map_or(Plane::Detect, |_| Plane::Kill);
    let axes = detector.spec().axes.iter();
    let axes = axes.chain(strategy.iter().flat_map(|s| s.spec().axes));
    Ok(TrialSpec {
        scenario: "random",
        workload: scenarios::workload(script).map_err(|e| e.to_string())?,
        // With the outsider that gets a number which a process of the tree had.
        stage: Stage {
            hostile: strategy.is_some(),
            delegated: true,
            says_ready: strategy.is_some(),
            ..Stage::PLAIN
        },
        params: param::defaults(axes, plane),
        expected: match strategy {
            None => Expected::Detect(Expectation::Sound),
            Some(_) => Expected::Kill(KillExpectation::Empties),
        },
        deadline: PATIENCE,
        limits: Limits {
            tasks: script.tasks().max(Limits::default().tasks),
            ..Limits::default()
        },
        ..spec(any, detector, strategy)
    })
}

/// Whether a write to `cgroup.kill` is all that the strategy does, and this kernel spares a process
/// without first thread then, which may go on to fork. That is asserted elsewhere; here such a
/// strategy gets trees without.
fn meets_the_bug(strategy: AnyStrategy) -> bool {
    static BUG: OnceLock<bool> = OnceLock::new();
    let reach = strategy.spec().reach;
    let present = || bugs::spares_dead_leaders(base().cgroup()) == Ok(Presence::Present);
    (reach.scope, reach.sweep) == (Scope::Cgroup, Sweep::Atomic) && *BUG.get_or_init(present)
}
