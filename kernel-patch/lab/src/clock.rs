//! One clock for every deadline and duration of the lab.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// `CLOCK_MONOTONIC` since boot of the machine (`clock_gettime(2)`).
///
/// # Panics
/// If the kernel has no monotonic clock, which no Linux can lack.
#[must_use]
pub fn now() -> Duration {
    let ts =
        clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux");
    Duration::from(ts)
}

/// A moment after which one stops to wait.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Duration);

impl Deadline {
    /// The moment `after` from now.
    #[must_use]
    pub fn after(after: Duration) -> Self {
        Self(now() + after)
    }

    /// What is left of it; `None` once it has passed.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.0.checked_sub(now()).filter(|left| !left.is_zero())
    }

    /// The earlier of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}
