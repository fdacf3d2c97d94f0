//! What a mechanism does to the process that uses it, as data.
//!
//! A mechanism that a program links in runs in the program's own process. What it changes there is
//! part of its interface: a program that is a subreaper reaps other programs' orphans, one whose
//! `SIGALRM` is taken loses its own timer.

/// What arming and waiting change in the calling process, beyond memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Effects {
    /// Sets `PR_SET_CHILD_SUBREAPER`: orphans of the set become children of the process.
    pub subreaper: bool,
    /// Changes the signal mask of the calling thread.
    pub signal_mask: bool,
    /// Installs a signal handler, and leaves it installed.
    pub signal_handler: bool,
    /// Arms a POSIX timer while it waits.
    pub timer: bool,
    /// Which children it reaps. A program that also waits for them elsewhere must know.
    pub reaps: Reaps,
    /// Works only in a process with one thread: it forks without exec.
    pub single_thread: bool,
    /// Puts a gate before the exec of the program: the program runs only after `attach`.
    pub gates_spawn: bool,
    /// What it holds between `arm` and `finish`.
    pub holds: Holds,
}

/// Which children a mechanism reaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Reaps {
    /// None.
    Nothing,
    /// The process that was started.
    Main,
    /// Members of the process group of the process that was started, as far as they are children.
    ProcessGroup,
    /// Every child of the calling process, whether it belongs to the set or not.
    AnyChild,
}

/// What is held while a set is watched: counted after `attach`. Stated for the mechanisms of this
/// crate; others may leave it at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Holds {
    /// Descriptors.
    pub descriptors: u8,
    /// Child processes of its own.
    pub processes: u8,
    /// Threads of its own.
    pub threads: u8,
}

impl Effects {
    /// Changes nothing and holds nothing.
    pub const NONE: Self = Self {
        subreaper: false,
        signal_mask: false,
        signal_handler: false,
        timer: false,
        reaps: Reaps::Nothing,
        single_thread: false,
        gates_spawn: false,
        holds: Holds {
            descriptors: 0,
            processes: 0,
            threads: 0,
        },
    };

    /// Changes nothing but holds this many descriptors.
    pub const fn descriptors(count: u8) -> Self {
        Self::NONE.and_descriptors(count)
    }

    /// The same, with this many descriptors held.
    pub const fn and_descriptors(self, count: u8) -> Self {
        Self {
            holds: Holds {
                descriptors: count,
                ..self.holds
            },
            ..self
        }
    }

    /// Whether a program with threads, children, signal handlers and timers of its own can use it
    /// without taking care.
    pub const fn are_harmless(&self) -> bool {
        !(self.subreaper
            || self.signal_mask
            || self.signal_handler
            || self.timer
            || self.single_thread)
            && matches!(self.reaps, Reaps::Nothing)
    }
}
