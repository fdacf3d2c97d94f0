//! `leaderless`: processes with a first thread that has exited while another lives on.
//!
//! `main` calls `pthread_exit`, which is legal and done by real programs. For `ps` the process is a
//! zombie; its parent cannot reap it yet; and a write to `cgroup.kill`, on kernels without the fix,
//! treats it as dead.

use harness::expect::{KillExpectation, Plane, Reach, Scope, Sweep};
use harness::param::ParamPoint;
use harness::trial::Stage;

use super::{COPIES, Scenario, ScenarioSpec, count};
use crate::script::{FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

static SPEC: ScenarioSpec = ScenarioSpec {
    id: "leaderless",
    summary: "Processes with a first thread that has exited, while another sleeps until it is \
        killed.",
    planes: &[Plane::Kill],
    stage: Stage::PLAIN,
    axes: &[COPIES],
    sources: &[
        "pthread_exit(3)",
        "kernel/cgroup/cgroup.c: __cgroup_kill() signals first threads with send_sig()",
        "kernel/signal.c: complete_signal()",
        "Linux 6.12.117: cgroup: fix cgroup.kill for exited thread group leader",
    ],
};

/// Processes without a first thread.
#[derive(Debug)]
pub(super) struct Leaderless;

impl Scenario for Leaderless {
    fn spec(&self) -> &'static ScenarioSpec {
        &SPEC
    }

    fn script(&self, at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        let count = count(at, &COPIES);
        let all = Op::Barrier {
            index: 0,
            count: count.saturating_add(1),
        };
        let sleep = Op::Live { ns: FOREVER };
        Script::new(vec![
            vec![
                Op::Fork { block: 1, count },
                Op::ExitLeader,
                all,
                Op::Ready,
                sleep,
            ],
            vec![Op::ExitLeader, all, sleep],
        ])
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        Sees::of_companions(scope)
    }

    fn expect_kill(&self, at: &ParamPoint, reach: Reach) -> KillExpectation {
        match (reach.scope, reach.sweep) {
            (Scope::Cgroup, Sweep::Atomic) => KillExpectation::MaySurvive(
                "cgroup.kill signals first threads, and without the fix an exited one takes the \
                    signal to its grave",
            ),
            _ => self.sees(at, reach.scope).expect_kill(FOREVER),
        }
    }
}
