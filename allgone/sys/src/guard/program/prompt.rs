//! Running soon after being woken, while jobs keep the processors busy.
//!
//! A bomb of sessions has a scheduler's group for each of them (sched(7), "The autogroup feature"),
//! and a guard waits behind them. It has a session of its own, and takes the shortest slices: the
//! same share of the processor, in pieces that are due sooner. Slices are of Linux 6.12. What the guard starts gets the host's value back.
//!
//! As `crate::sched`, which has a C library. Sources: sched_setattr(2),
//! Documentation/scheduler/sched-eevdf.rst.

use super::process::{Scheduling, scheduling, set_scheduling};
use super::raw::Errno;

const SHORTEST_SLICE_NS: u64 = 100_000;
/// `SCHED_OTHER` and `SCHED_BATCH`: those that have slices.
const FAIR: [u32; 2] = [0, 3];
/// `SCHED_FLAG_KEEP_POLICY`, include/uapi/linux/sched.h.
const KEEP_POLICY: u64 = 0x08;

/// The slice of the host, for its jobs.
pub(crate) struct Prompt {
    hosts_ns: u64,
}

impl Prompt {
    /// Has this process run soon. `None`: nothing has changed, because the kernel or the policy has
    /// no slices, or a seccomp filter refuses the call.
    pub(crate) fn from_now_on() -> Option<Self> {
        let found = scheduling().ok()?;
        if !FAIR.contains(&found.policy) || found.runtime == 0 {
            return None;
        }
        set(found, SHORTEST_SLICE_NS).ok()?;
        Some(Self {
            hosts_ns: found.runtime,
        })
    }

    /// Gives a child of this process what the host had.
    pub(crate) fn give_back(&self) -> Result<(), Errno> {
        set(scheduling()?, self.hosts_ns)
    }
}

fn set(mut found: Scheduling, slice_ns: u64) -> Result<(), Errno> {
    found.flags = KEEP_POLICY;
    found.runtime = slice_ns;
    set_scheduling(&found)
}
