//! The page that launcher, init and the process before exec share: what became of each step, and of
//! the program. Written with plain stores, so by code that may do nothing else.
//!
//! Sources: mmap(2) `MAP_SHARED | MAP_ANONYMOUS`. Exec drops it, so the program never has it.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use nix::errno::Errno;

use crate::mapping::Mapping;
use crate::time::{MonoNs, now};

/// The most steps that a sequence with results may have.
pub const STEPS: usize = 2048;

/// What became of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// The kernel's answer, if it was not success.
    pub error: Option<Errno>,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
}

/// Why init ended the program, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Cause {
    /// Nothing did: it ended by itself.
    None = 0,
    /// The time limit.
    Timeout = 1,
    /// The processor time limit.
    CpuTime = 2,
    /// The other end of the lease was closed.
    Lease = 3,
    /// The launcher is gone.
    LauncherGone = 4,
    /// The main process ended, and the others were not to be waited for.
    MainEnded = 5,
    /// A signal to the launcher, or a request of its library.
    Asked = 6,
}

impl Cause {
    /// Its name, as reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "itself",
            Self::Timeout => "timeout",
            Self::CpuTime => "cpu-time",
            Self::Lease => "lease",
            Self::LauncherGone => "launcher-gone",
            Self::MainEnded => "main-ended",
            Self::Asked => "signal",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    const ALL: [Self; 7] = [
        Self::None,
        Self::Timeout,
        Self::CpuTime,
        Self::Lease,
        Self::LauncherGone,
        Self::MainEnded,
        Self::Asked,
    ];
}

/// How the main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MainEnd {
    /// `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`.
    pub code: i32,
    /// Exit status or signal.
    pub status: i32,
    /// When init saw it.
    pub at: MonoNs,
}

#[derive(Debug)]
#[repr(C)]
struct Slot {
    /// 0: not made; 1: made.
    made: AtomicU32,
    errno: AtomicI32,
    took_ns: AtomicU64,
}

#[derive(Debug)]
#[repr(C)]
struct Shared {
    /// 1: `main_*` are set.
    ended: AtomicU32,
    main_code: AtomicI32,
    main_status: AtomicI32,
    cause: AtomicU32,
    /// 1: the grace was over, and SIGKILL was needed.
    killed: AtomicU32,
    /// The index of the step that failed, plus 1.
    failed: AtomicU32,
    /// Why main is not in the cgroup.
    outside: AtomicI32,
    main_at_ns: AtomicU64,
    /// Stops of tracees, and tasks that were born traced.
    stops: AtomicU64,
    births: AtomicU64,
    /// 1: init found that nobody is left.
    alone: AtomicU32,
    /// Kills for want of memory, plus 1.
    oom_kills: AtomicU64,
    /// The most memory of all of it at a time, plus 1.
    memory_peak_bytes: AtomicU64,
    slots: [Slot; STEPS],
}

/// A shared page of results.
#[derive(Debug)]
pub struct Results(Mapping);

impl Results {
    /// A fresh one: nothing made, nothing ended. Errors: `ENOMEM`.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self(Mapping::anonymous(size_of::<Shared>())?))
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the mapping is live as long as `self`, page-aligned, as large as `Shared`, zeroed
        // by the kernel, and every field is an atomic, for which any bits are valid.
        unsafe { self.0.at.cast::<Shared>().as_ref() }
    }

    /// What became of the step with this index; `None`: it was not made.
    pub fn step(&self, index: usize) -> Option<StepResult> {
        let slot = self.shared().slots.get(index)?;
        if slot.made.load(Ordering::Acquire) == 0 {
            return None;
        }
        let errno = slot.errno.load(Ordering::Relaxed);
        Some(StepResult {
            error: (errno != 0).then(|| Errno::from_raw(errno)),
            took_ns: slot.took_ns.load(Ordering::Relaxed),
        })
    }

    /// The required step that failed, with the kernel's answer.
    pub fn failure(&self) -> Option<(usize, Errno)> {
        let index = usize::try_from(self.shared().failed.load(Ordering::Acquire)).ok()?;
        let index = index.checked_sub(1)?;
        Some((index, self.step(index)?.error?))
    }

    /// How the main process ended; `None`: it has not, or init was killed before it saw it.
    pub fn main_end(&self) -> Option<MainEnd> {
        let shared = self.shared();
        (shared.ended.load(Ordering::Acquire) == 1).then(|| MainEnd {
            code: shared.main_code.load(Ordering::Relaxed),
            status: shared.main_status.load(Ordering::Relaxed),
            at: MonoNs(shared.main_at_ns.load(Ordering::Relaxed)),
        })
    }

    /// Why main was not born in the cgroup that was made for it.
    pub fn outside(&self) -> Option<Errno> {
        let errno = self.shared().outside.load(Ordering::Acquire);
        (errno != 0).then(|| Errno::from_raw(errno))
    }

    pub(super) fn set_outside(&self, errno: Errno) {
        self.shared().outside.store(errno as i32, Ordering::Release);
    }

    /// Why it was ended.
    pub fn cause(&self) -> Cause {
        let cause = self.shared().cause.load(Ordering::Acquire);
        let known = Cause::ALL.into_iter().find(|known| *known as u32 == cause);
        known.unwrap_or(Cause::None)
    }

    /// How often a task was stopped for its tracer, and how many tasks were born traced: what the
    /// tracing cost.
    pub fn traced(&self) -> (u64, u64) {
        let shared = self.shared();
        let [stops, births] = [&shared.stops, &shared.births];
        (
            stops.load(Ordering::Relaxed),
            births.load(Ordering::Relaxed),
        )
    }

    pub(super) fn count_stop(&self) {
        self.shared().stops.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_birth(&self) {
        self.shared().births.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether init ended because it had neither a child nor a tracee any more.
    pub fn was_alone(&self) -> bool {
        self.shared().alone.load(Ordering::Acquire) == 1
    }

    pub(super) fn set_alone(&self) {
        self.shared().alone.store(1, Ordering::Release);
    }

    /// How often the kernel killed for want of memory, if init has read that.
    pub fn oom_kills(&self) -> Option<u64> {
        self.shared()
            .oom_kills
            .load(Ordering::Acquire)
            .checked_sub(1)
    }

    pub(super) fn set_oom_kills(&self, count: u64) {
        let noted = count.saturating_add(1);
        self.shared().oom_kills.store(noted, Ordering::Release);
    }

    /// The most memory that all of it has had at a time, if init has read that.
    pub fn memory_peak_bytes(&self) -> Option<u64> {
        let noted = &self.shared().memory_peak_bytes;
        noted.load(Ordering::Acquire).checked_sub(1)
    }

    pub(super) fn set_memory_peak_bytes(&self, bytes: u64) {
        let noted = bytes.saturating_add(1);
        self.shared()
            .memory_peak_bytes
            .store(noted, Ordering::Release);
    }

    /// Whether SIGKILL was needed.
    pub fn was_killed(&self) -> bool {
        self.shared().killed.load(Ordering::Acquire) == 1
    }

    /// Notes why it is ended; the first reason stays.
    pub fn set_cause(&self, cause: Cause) {
        let shared = &self.shared().cause;
        // Relaxed on failure: the value that is there already is not looked at.
        match shared.compare_exchange(0, cause as u32, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) | Err(_) => {}
        }
    }

    /// Notes that SIGKILL was needed.
    pub fn set_killed(&self) {
        self.shared().killed.store(1, Ordering::Release);
    }

    pub(crate) fn set_main_end(&self, code: i32, status: i32) {
        let shared = self.shared();
        shared.main_code.store(code, Ordering::Relaxed);
        shared.main_status.store(status, Ordering::Relaxed);
        shared.main_at_ns.store(now().0, Ordering::Relaxed);
        shared.ended.store(1, Ordering::Release);
    }

    /// Notes what became of a step that was begun at `since`. Async-signal-safe.
    pub(super) fn note(&self, index: usize, since: MonoNs, error: Option<Errno>) {
        if let Some(slot) = self.shared().slots.get(index) {
            let errno = error.map_or(0, |errno| errno as i32);
            slot.errno.store(errno, Ordering::Relaxed);
            let took = now().0.saturating_sub(since.0);
            slot.took_ns.store(took, Ordering::Relaxed);
            slot.made.store(1, Ordering::Release);
        }
    }

    /// Notes that the sequence ended at this step. Async-signal-safe.
    pub(super) fn fail(&self, index: usize) {
        let number = u32::try_from(index).unwrap_or(u32::MAX - 1) + 1;
        self.shared().failed.store(number, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read() {
        let results = Results::new().unwrap();
        assert_eq!(results.step(0), None);
        assert_eq!(results.failure(), None);
        results.note(3, now(), None);
        results.note(4, now(), Some(Errno::EPERM));
        results.fail(4);
        assert_eq!(results.step(3).unwrap().error, None);
        assert_eq!(results.failure(), Some((4, Errno::EPERM)));
        results.note(STEPS, now(), None);
        assert_eq!(results.step(STEPS), None, "there is no room for it");
    }

    #[test]
    fn the_first_cause_stays() {
        let results = Results::new().unwrap();
        assert_eq!(results.cause(), Cause::None);
        results.set_cause(Cause::Timeout);
        results.set_cause(Cause::LauncherGone);
        assert_eq!(results.cause(), Cause::Timeout);
        assert_eq!(results.main_end(), None);
        results.set_main_end(libc::CLD_EXITED, 3);
        assert_eq!(results.main_end().unwrap().status, 3);
    }
}
