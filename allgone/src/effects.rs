//! What a mechanism does to the process that uses it, as data.
//!
//! A mechanism that a program links in runs in the program's own process. What it changes there is
//! part of its interface: a program that is a subreaper reaps other programs' orphans, one whose
//! `SIGALRM` is taken loses its own timer.

use std::fmt;

/// What arming and waiting change in the calling process, beyond memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Effects {
    /// Sets `PR_SET_CHILD_SUBREAPER` until it is given up: orphans of the set, and of everything
    /// else that the process has started, become its children.
    pub subreaper: bool,
    /// Changes the signal mask of the calling thread, and leaves it changed.
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
    /// Lets the program enter a cgroup of another hierarchy before its exec, and knows of the set
    /// by that one: what is born below the program is in it, what moves into the set's cgroup later
    /// is not.
    pub other_hierarchy: bool,
    /// Has a process in the set's cgroup that has the program's user: the program can kill it.
    pub process_in_set: bool,
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

/// What is held while a set is watched, or is ready to be killed: counted after `attach`, for the
/// first set. What all sets of a process share is not held again for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Holds {
    /// Descriptors.
    pub descriptors: u8,
    /// Besides, this many for each CPU that is online.
    pub descriptors_per_cpu: u8,
    /// Besides, this many for each process of the set that it has found: after `attach` that is the
    /// first one.
    pub descriptors_per_process: u8,
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
        other_hierarchy: false,
        process_in_set: false,
        holds: Holds {
            descriptors: 0,
            descriptors_per_cpu: 0,
            descriptors_per_process: 0,
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

    /// The same, with this held.
    pub const fn holding(self, holds: Holds) -> Self {
        Self { holds, ..self }
    }

    /// The same, with this many child processes held.
    pub const fn and_processes(self, count: u8) -> Self {
        Self {
            holds: Holds {
                processes: count,
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

/// The changes in words, separated by commas; "none" if there are none.
///
/// What is held is not in it: see [`Holds`].
impl fmt::Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reaps = match self.reaps {
            Reaps::Nothing => None,
            Reaps::Main => Some("reaps the first process"),
            Reaps::ProcessGroup => Some("reaps children of the process group"),
            Reaps::AnyChild => Some("reaps every child"),
        };
        let words = [
            self.subreaper.then_some("subreaper"),
            self.signal_mask.then_some("signal mask"),
            self.signal_handler.then_some("signal handler"),
            self.timer.then_some("timer"),
            reaps,
            self.single_thread.then_some("needs one thread"),
            self.gates_spawn.then_some("gate before exec"),
            self.other_hierarchy
                .then_some("cgroup of another hierarchy"),
            self.process_in_set.then_some("process in the set"),
        ];
        write_list(f, words.into_iter().flatten())
    }
}

/// As "2 fds, 1 fd/CPU, 1 process"; "none" if nothing is held.
impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |count: u8, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            more => Some(format!("{more} {many}")),
        };
        let words = [
            some(self.descriptors, "fd", "fds"),
            some(self.descriptors_per_cpu, "fd/CPU", "fds/CPU"),
            some(self.descriptors_per_process, "fd/process", "fds/process"),
            some(self.processes, "process", "processes"),
            some(self.threads, "thread", "threads"),
        ];
        write_list(f, words.iter().flatten().map(String::as_str))
    }
}

fn write_list<'w>(
    f: &mut fmt::Formatter<'_>,
    mut words: impl Iterator<Item = &'w str>,
) -> fmt::Result {
    f.write_str(words.next().unwrap_or("none"))?;
    words.try_for_each(|word| write!(f, ", {word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_as_a_list() {
        assert_eq!(Effects::NONE.to_string(), "none");
        assert_eq!(Effects::NONE.holds.to_string(), "none");
        let some = Effects {
            subreaper: true,
            reaps: Reaps::AnyChild,
            ..Effects::descriptors(2).and_processes(1)
        };
        assert_eq!(some.to_string(), "subreaper, reaps every child");
        assert_eq!(some.holds.to_string(), "2 fds, 1 process");
    }
}
