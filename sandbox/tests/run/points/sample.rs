//! Which of all boundaries and pairs of them are played: all, or a sample with a fixed seed.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::deaths::{Counts, Death};
use super::kinds::Kind;
use super::life::{Point, Role};

/// A survivor of the other one's death makes no more boundaries than this.
const AFTER: u32 = 60;

/// What the environment asks for.
pub(crate) fn asked(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// How many of `all` are played: `short` of them, or what the environment says.
pub(crate) fn size(variable: &str, short: usize, all: usize) -> usize {
    match asked(variable).as_deref() {
        None => short.min(all),
        Some("all") => all,
        Some(number) => number.parse::<usize>().unwrap().min(all),
    }
}

/// What decides the sample.
pub(crate) fn seed() -> u64 {
    asked("LAUNCHER_SEED").map_or(18, |seed| seed.parse().unwrap())
}

/// So many different numbers below `total`.
fn some_below(total: usize, size: usize) -> BTreeSet<usize> {
    if size >= total {
        return (0..total).collect();
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let mut chosen = BTreeSet::new();
    while chosen.len() < size {
        chosen.insert(random.random_range(0..total));
    }
    chosen
}

fn point(role: Role, at: usize) -> Point {
    let at = u32::try_from(at).unwrap();
    Point { role, at }
}

/// One process of the run at its own boundaries, or main at init's where it is not stopped at its
/// own: as many of each, and how many there are.
pub(crate) fn alone(kind: &Kind, counts: &Counts) -> (Vec<Death>, usize) {
    let mut rows = vec![
        (Role::Launcher, counts.launcher, Role::Launcher),
        (Role::Init, counts.init, Role::Init),
    ];
    rows.push(if kind.with_main {
        (Role::Main, counts.main, Role::Main)
    } else {
        (Role::Init, counts.init, Role::Main)
    });
    let (mut deaths, mut total) = (Vec::new(), 0);
    for (role, count, victim) in rows {
        let count = count as usize;
        total += count;
        let chosen = some_below(count, size("LAUNCHER_POINTS", 6, count));
        deaths.extend(
            chosen
                .into_iter()
                .map(|at| Death::Alone(point(role, at), victim)),
        );
    }
    (deaths, total)
}

/// Launcher and init, where there are both: in the same moment, or one a while after the other.
pub(crate) fn pairs(counts: &Counts) -> (Vec<Death>, usize) {
    let after = AFTER as usize;
    let first = counts.alone as usize;
    let (launcher, init) = (counts.launcher as usize - first, counts.init as usize);
    let together = launcher * init;
    let (then_init, then_launcher) = (launcher * after, init * after);
    let mut deaths = Vec::new();
    let size = |all| size("LAUNCHER_PAIRS", 4, all);
    for number in some_below(together, size(together)) {
        let one = point(Role::Launcher, first + number / init);
        deaths.push(Death::Together(one, point(Role::Init, number % init)));
    }
    let later = |number: usize| u32::try_from(number % after).unwrap();
    for number in some_below(then_init, size(then_init)) {
        let one = point(Role::Launcher, first + number / after);
        deaths.push(Death::Then(one, Role::Init, later(number)));
    }
    for number in some_below(then_launcher, size(then_launcher)) {
        let one = point(Role::Init, number / after);
        deaths.push(Death::Then(one, Role::Launcher, later(number)));
    }
    (deaths, together + then_init + then_launcher)
}
