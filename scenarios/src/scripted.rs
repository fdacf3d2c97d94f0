//! A script that is none of the suite's, run like a scenario. What is expected is worked out from
//! the model of what each scope sees, where that does not depend on the order of events.

use harness::expect::{Expectation, KillExpectation, Plane, Reach, Scope, Sweep};
use harness::param::ParamPoint;
use harness::sys::ledger::SLOTS;
use harness::trial::Stage;

use crate::cases::{Scenario, ScenarioSpec};
use crate::script::model::{self, Change, Ending, History};
use crate::script::{Each, FOREVER, Op, Script, ScriptError};
use crate::visibility::Sees;

/// So many processes are enough to see what a bomb does.
const OF_A_BOMB: usize = 64;

/// Why nothing is told.
const ORDER: &str = "no expectation: what this scope sees depends on the order of events";
/// Why nothing is told of a kill at any moment.
const ANY_MOMENT: &str = "no expectation: the script never says `ready`, so it is killed at any \
    moment";

/// The scenario of one script.
#[derive(Debug)]
pub struct Scripted {
    spec: &'static ScenarioSpec,
    script: Script,
    history: History,
}

impl Scripted {
    /// A scenario of this name. It and its facts live as long as the process, as those of the suite
    /// do, so a command makes one.
    pub fn leaked(name: &str, script: Script) -> &'static dyn Scenario {
        let ends = script.ends_by_itself();
        let planes: &[Plane] = match (ends, script.says_ready()) {
            (true, true) => &[Plane::Detect, Plane::Kill],
            (true, false) => &[Plane::Detect],
            (false, _) => &[Plane::Kill],
        };
        let spec = ScenarioSpec {
            id: Box::leak(format!("script-{name}").into_boxed_str()),
            summary: "A script that was given.",
            planes,
            stage: Stage {
                hostile: grows(&script),
                delegated: script.makes_cgroups(),
                says_ready: script.says_ready(),
                renumbered: script.ops().any(|op| matches!(op, Op::ForkPidns { .. })),
                ..Stage::PLAIN
            },
            axes: &[],
            sources: &[],
        };
        let tasks = if grows(&script) { OF_A_BOMB } else { SLOTS };
        Box::leak(Box::new(Self {
            spec: Box::leak(Box::new(spec)),
            history: model::play(&script, tasks),
            script,
        }))
    }

    /// Whether nothing that the script does takes a process out of sight.
    fn keeps(&self, scope: Scope) -> bool {
        let does = |wanted: fn(Op) -> bool| self.script.ops().any(wanted);
        let alone = self.history.births() == 1;
        match scope {
            Scope::Main | Scope::LinkedDescendants => alone,
            Scope::ProcessGroup => !does(|op| begins_session(op) || op == Op::Setpgid),
            Scope::Session => !does(begins_session),
            Scope::FdHolders => !does(|op| op == Op::CloseAll),
            Scope::CgroupAlone => !self.script.makes_cgroups(),
            Scope::ReapedDescendants
            | Scope::User
            | Scope::PidNamespace
            | Scope::Cgroup
            | Scope::SystemWide => true,
        }
    }

    /// How long the tree lives on after that moment.
    fn left_ns(&self, at_ns: u64) -> u64 {
        self.history
            .over_at_ns()
            .map_or(FOREVER, |over| over.saturating_sub(at_ns))
    }

    /// What a scope sees of the whole play, and how long it is empty before the end.
    fn in_sight(&self, scope: Scope) -> (Sees, u64) {
        if self.keeps(scope) {
            return (Sees::All, self.left_ns(u64::MAX));
        }
        match self.history.emptied(scope) {
            // Whether an orphan is lost depends on when it was looked for.
            Some((at_ns, 1..)) if scope != Scope::LinkedDescendants => {
                (Sees::Part(lost(scope)), self.left_ns(at_ns))
            }
            _ => (Sees::Race(ORDER), self.left_ns(u64::MAX)),
        }
    }

    /// What a scope sees when "ready" is said, and how long the rest lives on.
    fn sees_when_ready(&self, scope: Scope) -> (Sees, u64) {
        let Some(table) = self.history.when_ready() else {
            let sees = if self.keeps(scope) {
                Sees::All
            } else {
                Sees::Race(ANY_MOMENT)
            };
            return (sees, 0);
        };
        let for_ever = self.history.ending == Ending::Alive;
        let alone_ns = if for_ever { FOREVER } else { 0 };
        match table.alive().saturating_sub(table.seen(scope)) {
            _ if self.keeps(scope) => (Sees::All, alone_ns),
            0 => (Sees::Race(ORDER), alone_ns),
            _ => (Sees::Part(lost(scope)), alone_ns),
        }
    }

    /// Whether processes are born after "ready" was said.
    fn goes_on_after_ready(&self) -> bool {
        let mut after = self.history.events.iter();
        let said = after.any(|event| event.change == Change::Ready);
        !said || grows(&self.script) || after.any(|event| event.change.is_birth())
    }
}

fn grows(script: &Script) -> bool {
    script
        .ops()
        .any(|op| matches!(op, Op::Bomb { .. } | Op::ForkExitLoop | Op::Fill))
}

fn begins_session(op: Op) -> bool {
    matches!(op, Op::Setsid | Op::Bomb { each: Each::Setsid })
}

/// What each scope cannot see.
fn lost(scope: Scope) -> &'static str {
    match scope {
        Scope::Main => "the main process is not the last one",
        Scope::ProcessGroup => "a process is outside of the process group",
        Scope::Session => "a process is in another session",
        Scope::FdHolders => "a process has closed every descriptor",
        Scope::CgroupAlone => "a process is in a cgroup further down",
        Scope::LinkedDescendants => "a process is an orphan",
        Scope::ReapedDescendants
        | Scope::User
        | Scope::PidNamespace
        | Scope::Cgroup
        | Scope::SystemWide => "a process cannot be seen",
    }
}

impl Scenario for Scripted {
    fn spec(&self) -> &'static ScenarioSpec {
        self.spec
    }

    fn script(&self, _at: &ParamPoint, _plane: Plane, _seed: u64) -> Result<Script, ScriptError> {
        Ok(self.script.clone())
    }

    fn sees(&self, _at: &ParamPoint, scope: Scope) -> Sees {
        self.in_sight(scope).0
    }

    fn expect(&self, _at: &ParamPoint, scope: Scope) -> Expectation {
        if !self.spec.planes.contains(&Plane::Detect) {
            return Expectation::NotApplicable("it never ends by itself");
        }
        let (sees, alone_ns) = self.in_sight(scope);
        sees.expect(alone_ns)
    }

    fn expect_kill(&self, _at: &ParamPoint, reach: Reach) -> KillExpectation {
        let first_threads = self.script.ops().any(|op| op == Op::ExitLeader);
        if first_threads && (reach.scope, reach.sweep) == (Scope::Cgroup, Sweep::Atomic) {
            return KillExpectation::MaySurvive(
                "cgroup.kill signals first threads, and without the fix an exited one takes the \
                    signal to its grave",
            );
        }
        let (sees, alone_ns) = self.sees_when_ready(reach.scope);
        match sees {
            _ if !self.goes_on_after_ready() => sees.expect_kill(alone_ns),
            Sees::All => sees.expect_kill_of_bomb(reach.sweep),
            Sees::Part(why) | Sees::Race(why) => KillExpectation::MaySurvive(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripted(text: &str) -> &'static dyn Scenario {
        let named: actor::text::Named = text.parse().unwrap();
        Scripted::leaked("test", named.into_script())
    }

    fn says(scenario: &dyn Scenario, scope: Scope) -> &'static str {
        scenario.expect(&ParamPoint::default(), scope).name()
    }

    fn leaves(scenario: &dyn Scenario, scope: Scope, sweep: Sweep) -> &'static str {
        let reach = Reach { scope, sweep };
        scenario.expect_kill(&ParamPoint::default(), reach).name()
    }

    #[test]
    fn a_daemon_is_expected_to_be_what_the_scenario_says() {
        let daemon = "main: fork a\na: setsid; fork b; await-parent\n\
            b: close-all; await-parent; ready; live";
        let watched = scripted(&format!("{daemon} 50ms"));
        let killed = scripted(&format!("{daemon} forever"));
        let known = crate::by_id("setsid").unwrap();
        let mut at = ParamPoint::default();
        for scope in Scope::ALL {
            let expected = known.expect(&at, scope).name();
            assert_eq!(says(watched, scope), expected, "{scope:?}");
        }
        for axis in known.spec().axes {
            at.set(axis, FOREVER);
        }
        for (scope, sweep) in Scope::ALL
            .into_iter()
            .flat_map(|s| [(s, Sweep::Once), (s, Sweep::Atomic)])
        {
            let expected = known.expect_kill(&at, Reach { scope, sweep }).name();
            let told = leaves(killed, scope, sweep);
            // Whether an orphan is found is a race in the scenario, and known to the model.
            let orphan = scope == Scope::LinkedDescendants && told == "survives";
            assert!(
                told == expected || orphan,
                "{scope:?} {sweep:?}: {told}, not {expected}"
            );
        }
        assert_eq!(watched.spec().planes, [Plane::Detect, Plane::Kill]);
        assert_eq!(killed.spec().planes, [Plane::Kill]);
    }

    #[test]
    fn what_depends_on_order_is_not_expected() {
        let tree = scripted("main: fork a; live 5ms\na: setpgid; live 5ms");
        assert_eq!(says(tree, Scope::Cgroup), "sound");
        assert_eq!(says(tree, Scope::Session), "sound");
        assert_eq!(says(tree, Scope::ProcessGroup), "may-be-early");
        let one = scripted("main: live 5ms");
        assert!(Scope::ALL.iter().all(|scope| says(one, *scope) == "sound"));
    }

    #[test]
    fn a_bomb_is_expected_to_be_what_the_scenario_says() {
        let bomb = scripted("main: bomb setsid");
        assert!(bomb.spec().stage.hostile);
        assert_eq!(leaves(bomb, Scope::Cgroup, Sweep::Atomic), "empties");
        assert_eq!(leaves(bomb, Scope::Cgroup, Sweep::Once), "may-survive");
        assert_eq!(leaves(bomb, Scope::Session, Sweep::Atomic), "may-survive");
        assert_eq!(says(bomb, Scope::Cgroup), "not-applicable");
        let nested = scripted("main: bomb enter-cgroup");
        assert!(nested.spec().stage.delegated);
        let silent = scripted("main: fork a x3; live forever\na: live forever");
        assert_eq!(leaves(silent, Scope::Cgroup, Sweep::Atomic), "empties");
        assert_eq!(leaves(silent, Scope::Main, Sweep::Atomic), "may-survive");
    }
}
