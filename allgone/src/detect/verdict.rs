//! The verdict of a detector, and its counters.

use nix::errno::Errno;

use crate::MonoNs;
use crate::cgroup::CgroupError;
use crate::error::Reason;
use crate::sys::time::now;

/// What a detector says. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The set is empty.
    Empty {
        /// When it woke up for the last time.
        woke_ns: u64,
        /// When it had read the state that says so.
        decided_ns: u64,
    },
    /// The cgroup is gone: another process removed it. It must have been empty, but this detector
    /// did not see that.
    SiteRemoved {
        /// When that was noticed.
        at_ns: u64,
    },
    /// It cannot say. Unknown is never empty.
    Unknown {
        /// When.
        at_ns: u64,
        /// Why: operation and errno, or overflow.
        why: String,
        /// The kernel's answer, if that is why.
        errno: Option<Errno>,
    },
    /// The deadline passed.
    DeadlinePassed {
        /// When.
        at_ns: u64,
    },
}

impl Verdict {
    /// "Empty", decided now after a wake-up at `woke`.
    pub fn empty(woke: MonoNs) -> Self {
        Self::Empty {
            woke_ns: woke.0,
            decided_ns: now().0,
        }
    }

    /// The deadline passed, now.
    pub fn deadline() -> Self {
        Self::DeadlinePassed { at_ns: now().0 }
    }

    /// The verdict on a failed read of a cgroup file: `ENODEV` and `ENOENT` mean that it was
    /// removed, all else is unknown.
    pub fn from_cgroup(error: &CgroupError) -> Self {
        let at_ns = now().0;
        match error.errno() {
            Some(Errno::ENODEV | Errno::ENOENT) => Self::SiteRemoved { at_ns },
            errno => Self::Unknown {
                at_ns,
                why: error.to_string(),
                errno,
            },
        }
    }

    /// Unknown, now.
    pub fn unknown(why: impl Reason) -> Self {
        Self::Unknown {
            at_ns: now().0,
            why: why.to_string(),
            errno: why.errno(),
        }
    }
}

/// What watching took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Returns from a sleep.
    pub wakeups: u64,
    /// Wake-ups after which nothing had changed.
    pub spurious: u64,
    /// Reads of the state.
    pub reads: u64,
    /// Overflows of the source of events.
    pub overflows: u64,
    /// Processes reaped.
    pub reaped: u64,
    /// When the mechanism itself says that its last event happened; 0 if it does not stamp its
    /// events.
    pub event_ns: u64,
    /// Times it had to do without what its name says (a pool that had no warm cgroup).
    pub fallbacks: u64,
    /// How long it took before the program could start (a pool's warm-up, a seize), if that is
    /// measured.
    pub prepare_ns: u64,
    /// When the program was asked to start, if its process had been made beforehand and only waited
    /// at a gate. 0: at its spawn.
    pub asked_ns: u64,
}

/// Counts the looks of a watch: all but the first follow a sleep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// The counters so far.
    pub counters: Counters,
    looked: bool,
}

impl Tally {
    /// Starts from these counters.
    pub fn from(counters: Counters) -> Self {
        Self {
            counters,
            looked: false,
        }
    }

    /// Whether there was a check: the next one follows a sleep.
    pub fn has_looked(&self) -> bool {
        self.looked
    }

    /// Counts a check of the watch. Call it once in each check.
    pub fn check(&mut self) -> &mut Counters {
        if self.looked {
            self.counters.wakeups += 1;
        }
        self.looked = true;
        &mut self.counters
    }

    /// The counters of a finished watch in which every wake-up but the last found the set
    /// unchanged.
    pub fn with_spurious(self) -> Counters {
        Counters {
            spurious: self.counters.wakeups.saturating_sub(1),
            ..self.counters
        }
    }
}
