//! The launcher is killed at moments spread at random over start and life, without a tracer: how
//! long it takes until nothing of the run is alive.

use std::time::Duration;

use allgone::MonoNs;
use allgone::sys::time::{now, sleep_until};
use nix::sys::signal::{Signal, kill};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::kinds::Kind;
use super::life::Life;
use super::sample::seed;
use super::world::World;

/// The start takes a few milliseconds; the rest is life.
const SPREAD: Duration = Duration::from_millis(60);

/// From each death of a launcher to the end of all of its run, sorted. Errors: what was left.
pub(crate) fn play(
    world: &World,
    kind: &Kind,
    binary: &str,
    count: usize,
    limit: Duration,
) -> Result<Vec<Duration>, String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let spread = if kind.quota { SPREAD * 20 } else { SPREAD };
    let spread_ns = u64::try_from(spread.as_nanos()).unwrap();
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let after = Duration::from_nanos(random.random_range(0..spread_ns));
        let mut life = Life::untraced(kind, binary, |launcher| world.join_quota(launcher));
        sleep_until(now() + after).unwrap();
        let since: MonoNs = now();
        kill(life.launcher, Signal::SIGKILL).unwrap();
        let ended = life.end(since, limit);
        let left = world.clean(life.launcher, false);
        let of_it = |why| format!("killed after {after:?}: {why}");
        took.push(ended.map_err(of_it)?);
        left.map_err(of_it)?;
    }
    took.sort_unstable();
    Ok(took)
}
