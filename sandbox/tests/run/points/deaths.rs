//! Deaths at boundaries: of one process, of two in the same moment, of one after the other.

use std::time::Duration;

use allgone::MonoNs;
use allgone::sys::time::now;

use super::kinds::Kind;
use super::life::{Life, Next, Point, Role};
use super::world::World;

/// A life that goes on for longer than this without an event hangs.
const HANGS: Duration = Duration::from_secs(20);
/// If one waits at its boundary and the other has not come to its own after this time, it waits for
/// the first.
const WAITS: Duration = Duration::from_millis(20);

/// Who is killed, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    /// At this boundary, this one: the process that has stopped there, or another.
    Alone(Point, Role),
    /// Each at its boundary: both wait there, and are killed together. If one never comes while the
    /// other waits, that is killed first.
    Together(Point, Point),
    /// The second so many of its boundaries after the first was killed.
    Then(Point, Role, u32),
}

/// How a life with a death in it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// How many of those that were to be killed were.
    pub(crate) killed: usize,
    /// Whether both were killed while both waited.
    pub(crate) together: bool,
    /// From the last kill to the end of all; of nothing if none was killed.
    pub(crate) took: Duration,
    /// Cgroups without members that stayed.
    pub(crate) empty_cgroups: usize,
    /// The launcher's exit code, or 128 and its signal.
    pub(crate) code: Option<i32>,
}

/// One life.
struct Played {
    life: Life,
    dead: Vec<Role>,
    at: MonoNs,
    together: bool,
}

impl Played {
    fn kill(&mut self, role: Role) {
        if self.life.kill(role) {
            self.dead.push(role);
            self.at = now();
        }
    }

    /// Goes on to the next boundary.
    fn next(&mut self) -> Result<Option<(Point, nix::unistd::Pid)>, String> {
        match self.life.next(HANGS) {
            Next::Stop(point, pid) => Ok(Some((point, pid))),
            Next::Over => Ok(None),
            Next::Stall => {
                let left = self.life.end(now(), Duration::ZERO);
                Err(format!("hangs: {left:?}"))
            }
        }
    }

    /// Goes on until a boundary; false: all has ended before. It has stopped there.
    fn until(&mut self, wanted: impl Fn(Point) -> bool) -> Result<bool, String> {
        while let Some((point, pid)) = self.next()? {
            if wanted(point) {
                return Ok(true);
            }
            self.life.go(pid);
        }
        Ok(false)
    }

    fn alone(&mut self, point: Point, victim: Role) -> Result<(), String> {
        if self.until(|at| at == point)? {
            self.kill(victim);
        }
        Ok(())
    }

    fn then(&mut self, first: Point, role: Role, after: u32) -> Result<(), String> {
        if !self.until(|at| at == first)? {
            return Ok(());
        }
        self.kill(first.role);
        let begun = self.life.counts.get(&role).copied().unwrap_or(0);
        if self.until(|at| at.role == role && at.at >= begun + after)? {
            self.kill(role);
        }
        Ok(())
    }

    fn together(&mut self, points: [Point; 2]) -> Result<(), String> {
        let mut waits: Option<Point> = None;
        loop {
            let limit = if waits.is_some() && self.dead.is_empty() {
                WAITS
            } else {
                HANGS
            };
            let (point, pid) = match self.life.next(limit) {
                Next::Stop(point, pid) => (point, pid),
                Next::Over => return Ok(()),
                Next::Stall => match waits {
                    Some(first) if self.dead.is_empty() => {
                        self.kill(first.role);
                        continue;
                    }
                    _ => return self.next().map(|_| ()),
                },
            };
            if !points.contains(&point) {
                self.life.go(pid);
                continue;
            }
            match waits {
                None => waits = Some(point),
                Some(first) => {
                    if self.dead.is_empty() {
                        self.together = true;
                        // In both orders.
                        let turn = first.at % 2 == point.at % 2;
                        let pair = [first.role, point.role];
                        self.kill(pair[usize::from(turn)]);
                        self.kill(pair[usize::from(!turn)]);
                    } else {
                        self.kill(point.role);
                    }
                    return Ok(());
                }
            }
        }
    }
}

/// Plays a life in which somebody dies. Errors: something was left, or it hangs.
pub(crate) fn play(
    world: &World,
    kind: &Kind,
    binary: &str,
    death: Death,
    limit: Duration,
) -> Result<Outcome, String> {
    let mut played = Played {
        life: Life::start(kind, binary),
        dead: Vec::new(),
        at: now(),
        together: false,
    };
    match death {
        Death::Alone(point, victim) => played.alone(point, victim),
        Death::Together(one, other) => played.together([one, other]),
        Death::Then(first, role, after) => played.then(first, role, after),
    }?;
    let launcher_dead = played.dead.contains(&Role::Launcher);
    let took = played.life.end(played.at, limit);
    // The launcher kills init if that is late for the deadline.
    let both = launcher_dead && (played.dead.contains(&Role::Init) || played.life.init_killed);
    // Nobody is left to remove a cgroup if both are killed; a later run does it.
    let left = world.clean(played.life.launcher, both);
    let (took, empty_cgroups) = match (took, left) {
        // Nothing is promised then.
        (Err(_), Ok(left)) if both && !kind.bears_both => (limit, left),
        (Ok(took), Ok(left)) => (took, left),
        (took, left) => {
            let (dead, code, counts) = (&played.dead, played.life.code, &played.life.counts);
            return Err(format!(
                "processes: {took:?}; {left:?}; killed: {dead:?}; exit code {code:?}; {counts:?}"
            ));
        }
    };
    let code = played.life.code;
    if !launcher_dead && code == Some(123) {
        return Err("the launcher could not prove the end".to_owned());
    }
    Ok(Outcome {
        killed: played.dead.len(),
        together: played.together,
        took,
        empty_cgroups,
        code,
    })
}

/// How many boundaries each has in a life in which nobody dies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) launcher: u32,
    /// Those of the launcher before there was an init.
    pub(crate) alone: u32,
    pub(crate) init: u32,
    /// None where main is not traced.
    pub(crate) main: u32,
}

impl Counts {
    /// From one life.
    pub(crate) fn of(world: &World, kind: &Kind, binary: &str) -> Result<Self, String> {
        let mut life = Life::start(kind, binary);
        loop {
            match life.next(HANGS) {
                Next::Stop(_, pid) => life.go(pid),
                Next::Over => break,
                Next::Stall => {
                    let left = life.end(now(), Duration::ZERO);
                    return Err(format!("hangs: {left:?}"));
                }
            }
        }
        world.clean(life.launcher, false)?;
        let of = |role: Role| life.counts.get(&role).copied().unwrap_or(0);
        Ok(Self {
            launcher: of(Role::Launcher),
            alone: life.born_at.unwrap_or(0),
            init: of(Role::Init),
            main: of(Role::Main),
        })
    }
}
