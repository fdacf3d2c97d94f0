//! Random scripts for proptest: the generator and the shrinker of the library behind its traits.

use std::vec::IntoIter;

use proptest::prelude::Rng;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use scenarios::Script;
use scenarios::script::{Bounds, random, smaller};

/// So many cases, none of them shrunk for long; failures are kept beside the tests, to be tried
/// first from then on.
pub(crate) fn config(cases: u32, regressions: &'static str) -> Config {
    Config {
        cases,
        max_shrink_iters: 500,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..Config::default()
    }
}

/// Scripts within these bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scripts(pub(crate) Bounds);

impl Strategy for Scripts {
    type Tree = Shrinking;
    type Value = Script;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        Ok(Shrinking {
            script: random(runner.rng().next_u64(), &self.0),
            larger: None,
        })
    }
}

/// A script that failed, or one that is a step smaller and may.
#[derive(Debug)]
pub(crate) struct Shrinking {
    script: Script,
    /// The last one known to fail, and its smaller ones that are still to be tried.
    larger: Option<(Script, IntoIter<Script>)>,
}

impl ValueTree for Shrinking {
    type Value = Script;

    fn current(&self) -> Script {
        self.script.clone()
    }

    fn simplify(&mut self) -> bool {
        let mut candidates = smaller(&self.script).collect::<Vec<_>>().into_iter();
        let Some(next) = candidates.next() else {
            return false;
        };
        self.larger = Some((std::mem::replace(&mut self.script, next), candidates));
        true
    }

    fn complicate(&mut self) -> bool {
        let Some((failed, candidates)) = &mut self.larger else {
            return false;
        };
        if let Some(next) = candidates.next() {
            self.script = next;
            return true;
        }
        self.script = failed.clone();
        self.larger = None;
        false
    }
}
