//! The commands that are interrupted, and the processes of each that can be killed.

use std::time::Duration;

/// What is interrupted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) args: &'static [&'static str],
    /// About how long it takes, and the latest moment.
    pub(crate) life: Duration,
    pub(crate) helpers: Helpers,
}

/// The processes that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Helpers {
    /// It tries nothing.
    None,
    Guards,
    GuardsAndObservers,
}

pub(crate) const VERBS: [Verb; 7] = [
    verb("list", &["list"], 25, Helpers::None),
    verb("dry-run", &["forkbomb", "--dry-run"], 500, Helpers::Guards),
    verb("doctor", &["doctor"], 700, Helpers::Guards),
    verb("recommend", &["recommend"], 700, Helpers::Guards),
    verb(
        "forkbomb",
        &["forkbomb", "--trials", "1"],
        5_000,
        Helpers::GuardsAndObservers,
    ),
    verb(
        "measure",
        &[
            "measure",
            "exit-now",
            "--trials",
            "1",
            "--warm-up",
            "1",
            "--noise",
            "1ms",
        ],
        2_500,
        Helpers::GuardsAndObservers,
    ),
    verb(
        "scale",
        &["scale", "--sites", "3,6", "--jobs", "2"],
        5_000,
        Helpers::GuardsAndObservers,
    ),
];

const fn verb(
    name: &'static str,
    args: &'static [&'static str],
    life_ms: u64,
    helpers: Helpers,
) -> Verb {
    Verb {
        name,
        args,
        life: Duration::from_millis(life_ms),
        helpers,
    }
}
