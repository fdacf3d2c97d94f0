//! A scenario in other surroundings than its own: below the first process of a PID namespace, as in
//! a container whose program is PID 1.
//!
//! The main process is PID 1. It forks what is otherwise the main process, and reaps whatever comes
//! to it, as a shell does that runs a program. So SIGTERM has no effect on it unless it asks for
//! that; orphans become its children; it outlives all others; and when it is killed, the kernel
//! kills the rest and waits for it. Whatever a scenario does below, that is what a mechanism has to
//! do with, so the expectations follow here, once for all scenarios.
//!
//! Sources: pid_namespaces(7); kernel/pid_namespace.c, zap_pid_ns_processes().

use harness::expect::{Expectation, KillExpectation, Plane, Reach, Scope};
use harness::param::ParamPoint;
use harness::trial::{Beside, Stage};

use crate::cases::{Scenario, ScenarioSpec};
use crate::script::{Op, Script, ScriptError};
use crate::visibility::Sees;

/// What PID 1 does. It forks the first of the other blocks.
const FIRST: [Op; 2] = [Op::Fork { block: 1, count: 1 }, Op::Reap];

/// A scenario below PID 1.
#[derive(Debug)]
struct BelowPid1 {
    of: &'static dyn Scenario,
    spec: &'static ScenarioSpec,
    needs: &'static [&'static str],
}

/// `scenario` with a main process that is PID 1. It lives as long as this process, as those of the
/// registry do, so a command makes each once.
pub fn below_pid_1(scenario: &'static dyn Scenario) -> &'static dyn Scenario {
    let spec = scenario.spec();
    let needs: Vec<&'static str> = scenario
        .needs()
        .iter()
        .copied()
        .chain(["pid-namespace"])
        .collect();
    Box::leak(Box::new(BelowPid1 {
        of: scenario,
        spec: Box::leak(Box::new(ScenarioSpec {
            id: Box::leak(format!("{}-below-pid-1", spec.id).into_boxed_str()),
            stage: Stage {
                pid_1: true,
                ..spec.stage
            },
            ..*spec
        })),
        needs: Box::leak(needs.into_boxed_slice()),
    }))
}

/// `script` below PID 1.
fn below(script: &Script) -> Result<Script, ScriptError> {
    // What waits for the observer is its child there, and inherits what the observer gives.
    let waits = script.ops().any(|op| op == Op::WaitGo);
    let mut first = FIRST.to_vec();
    if waits {
        first.insert(0, Op::WaitGo);
    }
    let mut blocks = vec![first];
    for ops in &script.blocks {
        let moved = ops.iter().map(|op| {
            let mut op = *op;
            if let Some(block) = op.block_mut() {
                *block += 1;
            }
            op
        });
        blocks.push(moved.collect());
    }
    Script::new(blocks)
}

impl Scenario for BelowPid1 {
    fn spec(&self) -> &'static ScenarioSpec {
        self.spec
    }

    fn needs(&self) -> &'static [&'static str] {
        self.needs
    }

    fn unfit(&self) -> Option<&'static str> {
        let stage = self.of.spec().stage;
        match stage.beside {
            Beside::Broker | Beside::Joiner => {
                Some("a process from outside of the tree is in no PID namespace of the tree's")
            }
            Beside::ReusedPid => Some("the number that is used again is one of the namespace"),
            Beside::Nobody | Beside::Holder if stage.pid_1 => {
                Some("its main process is PID 1 already")
            }
            Beside::Nobody | Beside::Holder => None,
        }
    }

    fn script(&self, at: &ParamPoint, plane: Plane, seed: u64) -> Result<Script, ScriptError> {
        below(&self.of.script(at, plane, seed)?)
    }

    // PID 1 is in sight of every scope, from the birth of the tree to its end.
    fn sees(&self, _at: &ParamPoint, _scope: Scope) -> Sees {
        Sees::All
    }

    fn lifetime_ns(&self, at: &ParamPoint) -> u64 {
        self.of.lifetime_ns(at)
    }

    fn expect(&self, at: &ParamPoint, scope: Scope) -> Expectation {
        // What ends at all, and is found by its cgroup, is the same.
        match self.of.expect(at, Scope::Cgroup) {
            Expectation::MayBeLost(_) if !matches!(scope, Scope::Cgroup | Scope::CgroupAlone) => {
                Expectation::Sound
            }
            of_cgroup => of_cgroup,
        }
    }

    fn expect_kill(&self, _at: &ParamPoint, _reach: Reach) -> KillExpectation {
        // Every strategy kills the main process.
        KillExpectation::Empties
    }
}

#[cfg(test)]
mod tests {
    use harness::expect::Sweep;
    use harness::param;

    use super::*;
    use crate::SCENARIOS;
    use crate::script::model::{Ending, play};

    const TASKS: usize = 64;

    #[test]
    fn a_script_below_pid_1_is_the_same_script() {
        for scenario in SCENARIOS {
            let inner = below_pid_1(*scenario);
            assert!(inner.spec().stage.pid_1 && inner.needs().contains(&"pid-namespace"));
            if inner.unfit().is_some() {
                continue;
            }
            for &plane in inner.spec().planes {
                let at = param::defaults(inner.spec().axes, plane);
                let (own, alone) = (
                    inner.script(&at, plane, 1).unwrap(),
                    scenario.script(&at, plane, 1).unwrap(),
                );
                assert_eq!(own.blocks.len(), alone.blocks.len() + 1);
                assert!(own.ops().count() >= alone.ops().count() + FIRST.len());
                assert_eq!(own.says_ready(), alone.says_ready());
                assert_eq!(own.ends_by_itself(), alone.ends_by_itself());
                let (own, alone) = (play(&own, TASKS + 1), play(&alone, TASKS));
                // A tree at the limit differs in what is refused when.
                if !inner.spec().stage.hostile {
                    let id = inner.spec().id;
                    assert_eq!(own.births(), alone.births() + 1, "{id}");
                    assert_eq!(
                        own.ending == Ending::Alive,
                        alone.ending == Ending::Alive,
                        "{id}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_has_to_do_with_processes_outside_is_unfit() {
        let unfit = SCENARIOS
            .iter()
            .filter(|s| below_pid_1(**s).unfit().is_some());
        let unfit: Vec<&str> = unfit.map(|s| s.spec().id).collect();
        assert_eq!(
            unfit,
            ["broker", "late-joiner", "pid-reuse", "program-is-pid-1"]
        );
    }

    #[test]
    fn every_scope_sees_pid_1_and_every_kill_ends_all() {
        let daemon = below_pid_1(crate::by_id("setsid").unwrap());
        let at = param::defaults(daemon.spec().axes, Plane::Detect);
        for scope in Scope::ALL {
            assert_eq!(daemon.expect(&at, scope), Expectation::Sound, "{scope:?}");
        }
        let bomb = below_pid_1(crate::by_id("forkbomb-setsid").unwrap());
        let at = param::defaults(bomb.spec().axes, Plane::Kill);
        let reach = Reach {
            scope: Scope::Main,
            sweep: Sweep::Once,
        };
        assert_eq!(bomb.expect_kill(&at, reach), KillExpectation::Empties);
        assert!(matches!(
            bomb.expect(&at, Scope::Cgroup),
            Expectation::NotApplicable(_)
        ));
    }
}
