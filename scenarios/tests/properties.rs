//! What holds for every script: generator, shrinker and model, without a process.
#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]

mod support;

use actor::text::Named;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use scenarios::script::model::{Change, Ending, play};
use scenarios::script::{Bounds, Op, Script, smaller};
use support::{Scripts, config};

const BOUNDS: Bounds = Bounds {
    processes: 40,
    depth: 5,
    live_ns: 5_000_000,
    cgroups: true,
    others: true,
    siblings: true,
};

/// What the shrinker brings down: operations, children and sleeps.
fn weight(script: &Script) -> (usize, u128) {
    let amount = |op: Op| match op {
        Op::Live { ns } | Op::Spin { ns } => u128::from(ns),
        Op::Fork { count, .. } | Op::Threads { count } => u128::from(count),
        // One child, and more than a plain fork.
        Op::Vfork { .. } | Op::ForkSilent { .. } | Op::ForkParent { .. } => 2,
        _ => 0,
    };
    (script.ops().count(), script.ops().map(amount).sum())
}

proptest! {
    #![proptest_config(config(256, "tests/regressions/properties.txt"))]

    #[test]
    fn a_random_script_is_valid_and_its_tree_ends(script in Scripts(BOUNDS)) {
        prop_assert_eq!(script.check(), Ok(()));
        prop_assert!(script.ends_by_itself());
        let history = play(&script, usize::MAX);
        prop_assert_eq!(history.ending, Ending::Over);
        prop_assert!(history.births() <= 40);
        prop_assert!(history.events.iter().all(|e| e.change != Change::Refused));
    }

    #[test]
    fn a_script_survives_the_way_to_the_actor(script in Scripts(BOUNDS)) {
        prop_assert_eq!(Script::from_bytes(&script.to_bytes()), Ok(script));
    }

    #[test]
    fn a_script_that_is_printed_is_read_as_the_same(script in Scripts(BOUNDS)) {
        let text = script.to_string();
        let read: Result<Named, _> = text.parse();
        prop_assert_eq!(read.as_ref().map(Named::to_string), Ok(text));
        prop_assert_eq!(read.map(Named::into_script), Ok(script));
    }

    #[test]
    fn what_is_smaller_is_valid_and_lighter(script in Scripts(BOUNDS)) {
        for candidate in smaller(&script) {
            prop_assert_eq!(candidate.check(), Ok(()));
            prop_assert!(weight(&candidate) < weight(&script), "{:?} is not lighter than {:?}",
                candidate, script);
        }
    }

    #[test]
    fn in_the_model_everybody_ends_once_after_being_born(script in Scripts(BOUNDS)) {
        let history = play(&script, usize::MAX);
        let mut ends: Vec<usize> = history.ends().collect();
        ends.sort_unstable();
        prop_assert_eq!(ends, (0..history.births()).collect::<Vec<_>>());
        let times: Vec<u64> = history.events.iter().map(|e| e.at_ns).collect();
        prop_assert!(times.is_sorted());
        for event in &history.events {
            if let Change::Born { parent: Some(parent) } = event.change {
                prop_assert!(parent < event.pid);
            }
        }
    }

    #[test]
    fn a_limit_refuses_forks_and_nobody_more_is_born(script in Scripts(BOUNDS),
        tasks in 1usize..6) {
        let history = play(&script, tasks);
        let mut alive = 0usize;
        for event in &history.events {
            match event.change {
                change if change.is_birth() => alive += 1,
                Change::Ended => alive -= 1,
                _ => {}
            }
            prop_assert!(alive <= tasks);
        }
    }
}

#[test]
fn a_failure_is_shrunk_to_what_it_needs() {
    // Failures here are intended, and are not kept.
    let forgetful = Config {
        failure_persistence: None,
        ..config(256, "")
    };
    let mut runner =
        TestRunner::new_with_rng(forgetful, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let wrong = |script: Script| match script.ops().any(|op| op == Op::Setsid) {
        true => Err(TestCaseError::fail("somebody begins a session")),
        false => Ok(()),
    };
    let Err(TestError::Fail(_, smallest)) = runner.run(&Scripts(BOUNDS), wrong) else {
        panic!("some script begins a session");
    };
    assert_eq!(
        smallest.blocks,
        vec![vec![Op::Fork { block: 1, count: 1 }], vec![Op::Setsid]]
    );
}
