//! The one clock of the workspace: `CLOCK_MONOTONIC`, in nanoseconds.
//!
//! It is the same clock in every process of a machine, so a stamp written by an actor can be
//! subtracted from one read by an observer. It is not the time of day.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// Nanoseconds of `CLOCK_MONOTONIC` since boot.
///
/// Source: clock_gettime(2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoNs(pub u64);

impl MonoNs {
    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time left until `self`, zero if it has passed.
    pub fn remaining(self) -> Duration {
        self.since(now())
    }

    /// Whether `self` has passed.
    pub fn has_passed(self) -> bool {
        now() >= self
    }
}

impl Add<Duration> for MonoNs {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Debug for MonoNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}

/// Reads the clock. Allocates nothing and is safe between fork and exec.
#[expect(
    clippy::cast_sign_loss,
    reason = "CLOCK_MONOTONIC never goes below zero"
)]
pub fn now() -> MonoNs {
    // The clock always exists on Linux, so the error arm is unreachable; 0 keeps this callable
    // after fork, where a panic is not allowed.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(MonoNs(0), |t| {
        MonoNs(t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
    })
}

/// Sleeps until `at`, as part of a workload (never to synchronise). `EINTR` is returned to the
/// caller.
///
/// Source: clock_nanosleep(2), `TIMER_ABSTIME`.
#[expect(
    clippy::cast_possible_wrap,
    reason = "nanoseconds since boot stay far below i64::MAX"
)]
pub fn sleep_until(at: MonoNs) -> Result<(), Errno> {
    let spec = TimeSpec::new((at.0 / 1_000_000_000) as i64, (at.0 % 1_000_000_000) as i64);
    clock_nanosleep(
        ClockId::CLOCK_MONOTONIC,
        ClockNanosleepFlags::TIMER_ABSTIME,
        &spec,
    )
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_go_backwards() {
        let a = now();
        let b = now();
        assert!(b >= a && a.0 > 0);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(MonoNs(5).since(MonoNs(9)), Duration::ZERO);
        assert_eq!(MonoNs(u64::MAX) + Duration::from_secs(1), MonoNs(u64::MAX));
        assert!(sleep_until(MonoNs(1)).is_ok());
    }
}
