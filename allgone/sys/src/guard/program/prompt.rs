//! Running soon after being woken, while jobs keep the processors busy.
//!
//! A bomb of sessions has a scheduler's group for each of them (sched(7), "The autogroup feature"),
//! and a guard waits behind them. It has a session of its own, and takes the shortest slices: the
//! same share of the processor, in pieces that are due sooner. What it starts gets the host's
//! slice back. Sources: sched_setattr(2).

use super::attr::SHORTEST_SLICE_NS;
use super::process::{scheduling, set_scheduling};
use super::raw::Errno;

/// The slice of the host, for its jobs.
pub(crate) struct Prompt {
    hosts_ns: u64,
}

impl Prompt {
    /// Has this process run soon. `None`: nothing has changed, because the kernel or the policy has
    /// no slices, or a seccomp filter refuses the call.
    pub(crate) fn from_now_on() -> Option<Self> {
        let found = scheduling().ok()?;
        let hosts_ns = found.slice_ns()?;
        set_scheduling(&found.with_slice(SHORTEST_SLICE_NS)).ok()?;
        Some(Self { hosts_ns })
    }

    /// Gives a child of this process what the host had.
    pub(crate) fn give_back(&self) -> Result<(), Errno> {
        set_scheduling(&scheduling()?.with_slice(self.hosts_ns))
    }
}
