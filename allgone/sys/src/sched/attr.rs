//! `struct sched_attr`, and the slice in it. It names nothing outside of it: the guard's program
//! compiles it, too.
//!
//! Sources: sched_setattr(2), Documentation/scheduler/sched-eevdf.rst, `__setparam_fair()`
//! (kernel/sched/syscalls.c).

/// The shortest slice that the kernel takes.
pub const SHORTEST_SLICE_NS: u64 = 100_000;
/// `SCHED_FLAG_KEEP_POLICY`, include/uapi/linux/sched.h.
const KEEP_POLICY: u64 = 0x08;
/// `SCHED_OTHER` and `SCHED_BATCH`. Under a deadline policy the field of the slice is the budget of
/// a period.
const FAIR: [u32; 2] = [0, 3];

/// `struct sched_attr` in its first size, include/uapi/linux/sched/types.h.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attr {
    size: u32,
    pub(crate) policy: u32,
    flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const _: () = assert!(size_of::<Attr>() == Attr::SIZE as usize);

impl Attr {
    /// What the kernel is told of its size.
    pub(crate) const SIZE: u32 = 48;

    /// Room for the kernel to fill in.
    pub(crate) const fn room() -> Self {
        Self {
            size: Self::SIZE,
            policy: 0,
            flags: 0,
            nice: 0,
            priority: 0,
            runtime: 0,
            deadline: 0,
            period: 0,
        }
    }

    /// The slice. `None`: the policy has none, or the kernel, which has them from Linux 6.12 on.
    pub(crate) fn slice_ns(&self) -> Option<u64> {
        (FAIR.contains(&self.policy) && self.runtime != 0).then_some(self.runtime)
    }

    /// The same with another slice; 0 is the kernel's own.
    pub(crate) const fn with_slice(mut self, slice_ns: u64) -> Self {
        self.flags = KEEP_POLICY;
        self.runtime = slice_ns;
        self
    }
}
