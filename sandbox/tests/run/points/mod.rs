//! Every crash point: SIGKILL at each boundary of a system call, of launcher, init (in the traced
//! tier: the tracer), and main before exec; and at pairs of them. Then nothing of the run is alive
//! a second later, nothing is mounted, and no cgroup is left, but for empty ones if nobody was left
//! to remove them.
//!
//! Without a word in the environment a sample with a fixed seed is played: `LAUNCHER_POINTS=all`
//! plays every boundary, or as many as it says of each process of each kind of run;
//! `LAUNCHER_PAIRS` the same for pairs in the same moment, and for each order of two;
//! `LAUNCHER_SEED` another sample. `LAUNCHER_MOMENTS=300` kills so many launchers of each kind at
//! random moments.
//!
//! Not stopped at its own boundaries is main in the traced tier, which cannot have a second tracer;
//! it is killed at each boundary of its tracer. Programs of the tree are not stopped in any tier:
//! no promise rests on them.

mod deaths;
mod kinds;
mod life;
mod moments;
mod process;
mod sample;
mod stopped;
#[path = "../../../../allgone/tests/support/tracees.rs"]
mod tracees;
mod world;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::support::binary;
use deaths::{Counts, Death, Outcome, play};
use kinds::{KINDS, Kind, LASTING, SLOW, STOPPED, named};
use sample::asked;
use world::World;

/// How long all of it may take to end. In the long form it is the promise; in the short form, on a
/// machine that may do anything else at the same time, it only tells what lives on.
fn limit() -> Duration {
    if asked("LAUNCHER_POINTS").is_some() || asked("LAUNCHER_PAIRS").is_some() {
        Duration::from_secs(1)
    } else {
        Duration::from_secs(10)
    }
}

/// Plays them, and says what became of them. Errors: what was left, by whose death.
fn play_all(world: &World, kind: &Kind, what: &str, deaths: &[Death], of: usize) -> Vec<String> {
    let mut failures = Vec::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let binary = binary();
    for death in deaths {
        match play(world, kind, binary.path(), *death, limit()) {
            Ok(outcome) => outcomes.push(outcome),
            Err(why) => failures.push(format!("{}: {death:?}: {why}", kind.name)),
        }
    }
    let count = |of_it: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|one| of_it(one)).count();
    let killed = outcomes.iter().filter(|one| one.killed > 0);
    let mut took: Vec<Duration> = killed.map(|one| one.took).collect();
    took.sort_unstable();
    let mut codes: BTreeMap<Option<i32>, usize> = BTreeMap::new();
    for outcome in &outcomes {
        *codes.entry(outcome.code).or_default() += 1;
    }
    println!(
        "{} {what}: sampled {} of {of}; ended before it: {}; one killed: {}; both: {}, in the same \
         moment: {}; the end took {:?} (median), {:?} (most); empty cgroups stayed: {}; not ended \
         where nothing is promised: {}; codes {codes:?}; failed: {}",
        kind.name,
        deaths.len(),
        count(&|one| one.killed == 0),
        count(&|one| one.killed == 1),
        count(&|one| one.killed == 2),
        count(&|one| one.together),
        took.get(took.len() / 2).copied().unwrap_or_default(),
        took.last().copied().unwrap_or_default(),
        count(&|one| one.empty_cgroups > 0),
        count(&|one| one.took >= limit()),
        failures.len(),
    );
    failures
}

/// The kind that this process is for, and the world that it becomes.
fn entered() -> (&'static Kind, World) {
    let kind = named(&asked("LAUNCHER_KIND").unwrap());
    (kind, World::enter(kind))
}

/// Plays the lives of one kind in this process, which the test below starts for it.
#[test]
#[ignore = "it is what the tests below run, in a process of its own"]
fn lives() {
    let (kind, world) = entered();
    refuse(kind.refused);
    let binary = binary();
    let counts = match Counts::of(&world, kind, binary.path()) {
        Ok(counts) => counts,
        Err(why) => panic!("{}: {why}", kind.name),
    };
    println!("{}: {counts:?}, cgroup: {}", kind.name, world.has_cgroup());
    let (alone, all) = sample::alone(kind, &counts);
    let mut failures = play_all(&world, kind, "alone", &alone, all);
    let (pairs, all) = sample::pairs(&counts);
    failures.extend(play_all(&world, kind, "pairs", &pairs, all));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    drop(world);
}

/// The calls that are refused for all that this thread starts.
fn refuse(refused: &[(nix::libc::c_long, i32)]) {
    for (call, errno) in refused {
        crate::container::refuse([(*call, Vec::new())].into(), *errno);
    }
}

/// Kills launchers at random moments of such lives in this process.
#[test]
#[ignore = "it is what the tests below run, in a process of its own"]
fn random_moments() {
    let (kind, world) = entered();
    let slow = kind.quota || kind.options.contains(&"--cpu");
    let (short, most, bound) = if slow { (3, 30, 3) } else { (10, 10_000, 1) };
    let count = sample::size("LAUNCHER_MOMENTS", short, most);
    let promised = Duration::from_secs(bound);
    let limit = if asked("LAUNCHER_MOMENTS").is_some() {
        promised
    } else {
        promised * 10
    };
    let binary = binary();
    let took = match moments::play(&world, kind, binary.path(), count, limit) {
        Ok(took) => took,
        Err(why) => panic!("{}: {why}", kind.name),
    };
    let at = |percent: usize| {
        took.get((took.len() * percent).div_ceil(100).max(1) - 1)
            .copied()
    };
    println!(
        "{}: {} moments, quota around all: {}; from the launcher's death to the end of all: \
         median {:?}, p99 {:?}, most {:?}; over {promised:?}: {}",
        kind.name,
        took.len(),
        world.has_quota(),
        at(50).unwrap(),
        at(99).unwrap(),
        at(100).unwrap(),
        took.iter().filter(|took| **took > promised).count(),
    );
}

/// Plays all that can happen to a run of which one process is stopped.
#[test]
#[ignore = "it is what the tests below run, in a process of its own"]
fn one_is_stopped() {
    let (kind, world) = entered();
    let binary = binary();
    let limit = Duration::from_secs(10);
    for happens in stopped::ALL {
        if let Err(why) = stopped::play(&world, kind, binary.path(), happens, limit) {
            panic!("{} {happens:?}: {why}", kind.name);
        }
    }
}

fn inner(test: &str, name: &str) {
    let test = format!("points::{test}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--ignored", "--nocapture"])
        .env("LAUNCHER_KIND", name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
}

#[test]
fn in_the_namespace_tier() {
    for kind in KINDS
        .iter()
        .filter(|kind| kind.with_main && kind.bears_both)
    {
        inner("lives", kind.name);
    }
}

#[test]
fn in_the_traced_tier() {
    for kind in KINDS.iter().filter(|kind| !kind.with_main) {
        inner("lives", kind.name);
    }
}

#[test]
fn in_the_cgroup_tier() {
    for kind in KINDS.iter().filter(|kind| !kind.bears_both) {
        inner("lives", kind.name);
    }
}

#[test]
fn at_random_moments() {
    for kind in LASTING {
        inner("random_moments", kind.name);
    }
}

#[test]
fn with_little_processor_time() {
    for kind in SLOW {
        inner("random_moments", kind.name);
    }
}

#[test]
fn while_launcher_or_init_is_stopped() {
    for kind in STOPPED {
        inner("one_is_stopped", kind.name);
    }
}
