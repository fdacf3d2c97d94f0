//! The reasons why a process may outlive a kill.

use std::fmt;

/// Why a process is most likely alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It has a SIGKILL pending and sleeps in the kernel where no signal wakes it.
    UninterruptibleSleep,
    /// It, or a cgroup above it, is frozen by the v1 freezer: SIGKILL acts only after a thaw.
    FrozenV1,
    /// It, or a cgroup above it, is frozen by `cgroup.freeze`, and no SIGKILL has reached it. (One
    /// would end it while frozen.)
    FrozenV2,
    /// Its cgroup has used up its CPU time, so it does not run, not even to die.
    Throttled,
    /// A tracer holds it stopped, and no SIGKILL has reached it.
    Traced,
    /// It is stopped by job control, and no SIGKILL has reached it: other signals wait until it
    /// continues.
    Stopped,
    /// Its first thread has ended; others live on. A strategy that takes the end of the leader for
    /// the end of the process misses it.
    DeadLeader,
    /// It is a thread of the kernel, which no signal ends.
    KernelThread,
    /// It is in `do_exit()`: releasing memory, files and namespaces takes time.
    Exiting,
    /// It is in a threaded cgroup, which refuses `cgroup.kill`, and no SIGKILL has reached it.
    ThreadedCgroup,
    /// It has a SIGKILL pending and nothing delays it: it waits for a CPU.
    Dying,
    /// No SIGKILL has reached it.
    NotSignalled,
    /// It cannot be named from this PID namespace.
    Unnameable,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::UninterruptibleSleep,
        Self::FrozenV1,
        Self::FrozenV2,
        Self::Throttled,
        Self::Traced,
        Self::Stopped,
        Self::DeadLeader,
        Self::KernelThread,
        Self::Exiting,
        Self::ThreadedCgroup,
        Self::Dying,
        Self::NotSignalled,
        Self::Unnameable,
    ];

    /// A stable name for programs: kebab-case.
    pub fn id(self) -> &'static str {
        match self {
            Self::UninterruptibleSleep => "uninterruptible-sleep",
            Self::FrozenV1 => "frozen-v1",
            Self::FrozenV2 => "frozen-v2",
            Self::Throttled => "throttled",
            Self::Traced => "traced",
            Self::Stopped => "stopped",
            Self::DeadLeader => "dead-leader",
            Self::KernelThread => "kernel-thread",
            Self::Exiting => "exiting",
            Self::ThreadedCgroup => "threaded-cgroup",
            Self::Dying => "dying",
            Self::NotSignalled => "not-signalled",
            Self::Unnameable => "unnameable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UninterruptibleSleep => "in uninterruptible sleep",
            Self::FrozenV1 => "frozen by the v1 freezer",
            Self::FrozenV2 => "frozen, and not killed",
            Self::Throttled => "out of CPU time",
            Self::Traced => "stopped by its tracer, and not killed",
            Self::Stopped => "stopped, and not killed",
            Self::DeadLeader => "leader dead, other threads alive",
            Self::KernelThread => "kernel thread",
            Self::Exiting => "exiting",
            Self::ThreadedCgroup => "in a threaded cgroup, and not killed",
            Self::Dying => "killed, and about to die",
            Self::NotSignalled => "not killed",
            Self::Unnameable => "in another PID namespace",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_reason_has_a_name_and_words_of_its_own() {
        let ids: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.id()).collect();
        let words: BTreeSet<_> = Reason::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(
            (ids.len(), words.len()),
            (Reason::ALL.len(), Reason::ALL.len())
        );
    }
}
