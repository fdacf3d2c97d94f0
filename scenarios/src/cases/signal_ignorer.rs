//! `signal-ignorer`: processes that ignore every signal that can be ignored.
//!
//! A polite end (SIGTERM, SIGHUP, SIGINT) has no effect, and a wait for it has to have a deadline.
//! SIGKILL and SIGSTOP cannot be ignored, so each strategy that ends with SIGKILL reaches what its
//! scope holds.

use harness::expect::{Plane, Scope};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{COPIES, LIFE_ALONE, Scenario, ScenarioSpec, count};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "signal-ignorer",
    summary: "Processes that ignore every signal but SIGKILL and SIGSTOP, and live on for \
        `lifetime` after their parent.",
    planes: &[Plane::Detect, Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[COPIES, LIFE_ALONE],
    sources: &["signal(7)", "kernel/signal.c: sig_ignored()"],
};

/// Processes that ignore what they can.
#[derive(Debug)]
pub(super) struct SignalIgnorer;

impl Scenario for SignalIgnorer {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Script::new(vec![
            vec![
                Op::IgnoreSignals,
                Op::Fork {
                    block: 1,
                    count: count(at, &COPIES),
                },
            ],
            vec![
                Op::AwaitParent,
                Op::Ready,
                Op::Live {
                    ns: at.get(&LIFE_ALONE),
                },
            ],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_orphans(scope)
    }
}
