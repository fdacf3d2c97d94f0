//! Every crash point of a guard: SIGKILL at each boundary of a system call of host, go-between,
//! guard, second, and of a job's first process before exec; and of two of them one after the other.
//! Then nothing is alive a second later, and no cgroup is left.
//!
//! If host and guard are dead, cgroups without members may stay: the guard's own, and what the host
//! has made meanwhile. Nothing is promised where all three of host, guard and second are dead
//! before one could act. Both are counted, and taken away by the test.
//!
//! A sample with a fixed seed is played: `GUARD_POINTS=all` plays every boundary, or as many as it
//! says of each process; `GUARD_PAIRS` the same for each pair of two processes; `GUARD_SEED`
//! another sample.

mod host;
mod life;
#[path = "../../support/tracees.rs"]
mod tracees;

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};
use std::time::Duration;

use allgone::cgroup::Cgroup;
use allgone::sys::time::now;
use nix::sys::prctl;

use crate::Test;
use crate::base::Base;
use crate::deaths::ONE_SECOND;
use host::{DIES, ENDS};
use life::{Life, Next, Point, ROLES, Role};

pub(crate) const TESTS: &[Test] = &[
    ("every_crash_point_of_a_host_that_ends", || in_world(ENDS)),
    ("every_crash_point_of_a_host_that_dies", || in_world(DIES)),
];

/// A life that goes on for longer than this without an event hangs.
const HANGS: Duration = Duration::from_secs(20);
/// What survives a death makes no more boundaries than this.
const AFTER: usize = 40;

/// A process of its own, whose children are a life's alone.
fn in_world(end: &str) {
    let base = Base::must();
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("points")
        .arg(base.path())
        .arg(end)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
}

/// `points-host BASE END`.
pub(crate) fn host_main(args: &[String]) -> ExitCode {
    let [base, end] = args else {
        return ExitCode::from(64);
    };
    let code = host::main(&Cgroup::open(base).unwrap(), end);
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}

/// Somebody dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// At its boundary.
    Alone(Point),
    /// And another one, so many of its own boundaries later: 0 in the same moment.
    Then(Point, Role, u32),
}

/// `points BASE END`.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let [base, end] = args else {
        return ExitCode::from(64);
    };
    let base = Cgroup::open(base).unwrap();
    prctl::set_child_subreaper(true).unwrap();
    let counts = counts(&base, end).unwrap();
    println!("{end}: boundaries {counts:?}");
    let (alone, all) = alone(counts);
    let mut failures = play_all(&base, end, "alone", &alone, all);
    for pair in PAIRS {
        let (deaths, all) = pairs(counts, pair);
        failures.extend(play_all(&base, end, &format!("{pair:?}"), &deaths, all));
    }
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{}", failures.join("\n"));
    ExitCode::FAILURE
}

/// The first at one of its boundaries, then the second.
const PAIRS: [(Role, Role); 6] = [
    (Role::Host, Role::Guard),
    (Role::Host, Role::Second),
    (Role::Guard, Role::Host),
    (Role::Guard, Role::Second),
    (Role::Second, Role::Host),
    (Role::Second, Role::Guard),
];

/// How many boundaries each has in a life in which nobody dies, in the order of [`ROLES`].
fn counts(base: &Cgroup, end: &str) -> Result<[u32; 5], String> {
    let mut life = Life::start(base.path(), end);
    loop {
        match life.next(HANGS) {
            Next::Stop(_, pid) => life.go(pid),
            Next::Over => break,
            Next::Stall => return Err(format!("hangs: {:?}", life.end(now(), Duration::ZERO))),
        }
    }
    is_clear(base)?;
    let counts = ROLES.map(|role| life.counts.get(&role).copied().unwrap_or(0));
    if life.code != Some(0) || counts.contains(&0) {
        return Err(format!("the host ended with {:?}: {counts:?}", life.code));
    }
    Ok(counts)
}

/// The names of cgroups that are left.
fn left(base: &Cgroup) -> Vec<String> {
    let entries = std::fs::read_dir(base.path()).unwrap().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|dir| dir.file_name().to_string_lossy().into_owned())
        .collect()
}

fn is_clear(base: &Cgroup) -> Result<(), String> {
    let left = left(base);
    if left.is_empty() {
        return Ok(());
    }
    Err(format!("left: {left:?}, {:?}", base.procs_recursive()))
}

/// What became of one.
struct Outcome {
    dead: usize,
    took: Duration,
    /// Whether cgroups without members stayed where they may.
    empty: bool,
    /// Whether something was alive where nothing is promised.
    left: bool,
}

fn play(base: &Cgroup, end: &str, death: Death, limit: Duration) -> Result<Outcome, String> {
    let mut life = Life::start(base.path(), end);
    let mut dead = BTreeSet::new();
    let (first, then) = match death {
        Death::Alone(point) => (point, None),
        Death::Then(point, role, after) => (point, Some((role, after))),
    };
    let mut since = now();
    let mut wanted = Some(first);
    loop {
        let (point, pid) = match life.next(HANGS) {
            Next::Stop(point, pid) => (point, pid),
            Next::Over => break,
            Next::Stall => return Err(format!("hangs: {:?}", life.end(now(), Duration::ZERO))),
        };
        let reached = wanted.is_some_and(|at| at.role == point.role && point.at >= at.at);
        if !reached {
            life.go(pid);
            continue;
        }
        if life.kill(point.role) {
            dead.insert(point.role);
            since = now();
        }
        wanted = match then {
            // It is the first that has just died.
            Some((role, 0)) if dead.len() == 1 => {
                if life.kill(role) {
                    dead.insert(role);
                }
                None
            }
            Some((role, after)) if dead.len() == 1 && role != point.role => {
                let begun = life.counts.get(&role).copied().unwrap_or(0);
                let at = begun + after - 1;
                Some(Point { role, at })
            }
            _ => None,
        };
        if wanted.is_none() {
            break;
        }
    }
    let ended = life.end(since, limit);
    let stayed = left(base);
    let clear = is_clear(base);
    if clear.is_err() {
        clean(base)?;
    }
    let has_died = |role: Role| dead.contains(&role);
    let both = (end == DIES || has_died(Role::Host)) && has_died(Role::Guard);
    if both && has_died(Role::Second) {
        return Ok(Outcome {
            dead: dead.len(),
            took: ended.clone().unwrap_or_default(),
            empty: ended.is_ok() && clear.is_err(),
            left: ended.is_err(),
        });
    }
    let took = ended?;
    let may_stay: &[&str] = match (both, has_died(Role::Host)) {
        (false, _) => &[],
        (true, false) => &["test.guard"],
        (true, true) => &["test.guard", "test.1"],
    };
    if !stayed.iter().all(|name| may_stay.contains(&name.as_str())) {
        clear.clone()?;
    }
    // Whatever it has lost, it has been told.
    if !has_died(Role::Host) && !matches!(life.code, Some(0 | 1)) {
        return Err(format!("the host ended with {:?}", life.code));
    }
    Ok(Outcome {
        dead: dead.len(),
        took,
        empty: clear.is_err(),
        left: false,
    })
}

/// Takes away what is left, so that the next one begins with nothing.
fn clean(base: &Cgroup) -> Result<(), String> {
    let cleaned = crate::base::until(Duration::from_secs(10), || {
        let mut all = base.children().ok()?.flatten();
        all.all(|child| {
            drop(child.kill());
            child.remove_tree().is_ok()
        })
        .then_some(())
    });
    cleaned.ok_or_else(|| format!("could not clean: {:?}", is_clear(base)))
}

/// Plays them, and says what became of them. Errors: what was left, by whose death.
fn play_all(base: &Cgroup, end: &str, what: &str, deaths: &[Death], of: usize) -> Vec<String> {
    let long = asked("GUARD_POINTS").is_some() || asked("GUARD_PAIRS").is_some();
    let limit = if long { ONE_SECOND } else { ONE_SECOND * 10 };
    let mut failures = Vec::new();
    let mut outcomes = Vec::new();
    for death in deaths {
        match play(base, end, *death, limit) {
            Ok(outcome) => outcomes.push(outcome),
            Err(why) => failures.push(format!("{end} {death:?}: {why}")),
        }
    }
    let count = |of_it: fn(&Outcome) -> bool| outcomes.iter().filter(|one| of_it(one)).count();
    let killed = outcomes.iter().filter(|one| one.dead > 0 && !one.left);
    let mut took: Vec<Duration> = killed.map(|one| one.took).collect();
    took.sort_unstable();
    println!(
        "{end} {what}: sampled {} of {of}; ended before it: {}; one killed: {}; both: {}; the end \
         took {:?} (median), {:?} (most); empty cgroups stayed: {}; alive where nothing is \
         promised: {}; failed: {}",
        deaths.len(),
        count(|one| one.dead == 0),
        count(|one| one.dead == 1),
        count(|one| one.dead == 2),
        took.get(took.len() / 2).copied().unwrap_or_default(),
        took.last().copied().unwrap_or_default(),
        count(|one| one.empty),
        count(|one| one.left),
        failures.len(),
    );
    failures
}

/// What the environment asks for.
fn asked(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// How many of `all` are played.
fn size(variable: &str, short: usize, all: usize) -> usize {
    match asked(variable).as_deref() {
        None => short.min(all),
        Some("all") => all,
        Some(number) => number.parse::<usize>().unwrap().min(all),
    }
}

/// So many different numbers below `total`, by the seed.
fn some_below(total: usize, size: usize) -> BTreeSet<usize> {
    if size >= total {
        return (0..total).collect();
    }
    let mut state = asked("GUARD_SEED").map_or(18, |seed| seed.parse::<u64>().unwrap());
    let mut chosen = BTreeSet::new();
    while chosen.len() < size {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = usize::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap();
        chosen.insert(number % total);
    }
    chosen
}

fn point(role: Role, at: usize) -> Point {
    let at = u32::try_from(at).unwrap();
    Point { role, at }
}

/// One process at its own boundaries: as many of each, and how many there are.
fn alone(counts: [u32; 5]) -> (Vec<Death>, usize) {
    let mut deaths = Vec::new();
    for (role, count) in ROLES.into_iter().zip(counts) {
        let count = count as usize;
        let chosen = some_below(count, size("GUARD_POINTS", 6, count));
        deaths.extend(chosen.into_iter().map(|at| Death::Alone(point(role, at))));
    }
    (deaths, counts.iter().sum::<u32>() as usize)
}

/// One at its boundary, and the other later.
fn pairs(counts: [u32; 5], (first, role): (Role, Role)) -> (Vec<Death>, usize) {
    let of_first = ROLES.into_iter().zip(counts).find(|(of, _)| *of == first);
    let all = of_first.map_or(0, |(_, count)| count as usize) * AFTER;
    let chosen = some_below(all, size("GUARD_PAIRS", 6, all));
    let deaths = chosen.into_iter().map(|number| {
        let after = u32::try_from(number % AFTER).unwrap();
        Death::Then(point(first, number / AFTER), role, after)
    });
    (deaths.collect(), all)
}
