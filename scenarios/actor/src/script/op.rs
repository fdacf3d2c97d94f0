//! The operations.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FOREVER;

/// One thing that a process does. Unless said otherwise it takes no time, and a refusal by the
/// kernel ends the process with the exit code [`crate::REFUSED`]: a tree that is not what the
/// script says must not look as if it were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Sleeps for so many nanoseconds; [`FOREVER`] is until killed.
    Live {
        /// How long.
        ns: u64,
    },
    /// Forks `count` children that play `block`. A fork that a limit refuses is counted in the
    /// ledger, and the parent goes on.
    Fork {
        /// What they play.
        block: usize,
        /// How many.
        count: u32,
    },
    /// `setsid(2)`: leaves session, process group and terminal.
    Setsid,
    /// `setpgid(0, 0)`: a process group of its own in the same session.
    Setpgid,
    /// Closes every descriptor, inherited ones included.
    CloseAll,
    /// Ignores every signal that can be ignored.
    IgnoreSignals,
    /// Sleeps until the parent has ended: an orphan from here on.
    AwaitParent,
    /// Arrives at a barrier and waits until `count` processes have. A barrier can be used once.
    Barrier {
        /// Which.
        index: usize,
        /// For how many.
        count: u32,
    },
    /// Waits until the observer lets go: it has attached.
    WaitGo,
    /// Says that the tree is complete and can be killed.
    Ready,
    /// Its first thread ends, and another goes on: the process lives without its leader.
    ExitLeader,
    /// Makes a cgroup below its own and moves there. Needs a cgroup that was delegated to the
    /// process's user, a mounted cgroup v2, and `/proc` at the start.
    EnterCgroup,
    /// A fork bomb: forks itself for ever, and so does every copy. At a limit it keeps trying; the
    /// first refusal says [`Op::Ready`].
    Bomb {
        /// What every copy does first. "Ready" is then said by a process that has done so.
        each: Each,
    },
    /// Forks once and ends, and so does the child, for ever: one process with ever new numbers.
    ForkExitLoop,
    /// Ends with this exit code.
    Exit {
        /// The code.
        code: u8,
    },
    /// Dies of `SIGSEGV`, with a core dump where limits and system allow one. Its exit is stamped
    /// before.
    Crash,
    /// As [`Op::Fork`], one child, which is a child of this process's own parent (`CLONE_PARENT`).
    ForkParent {
        /// What it plays.
        block: usize,
    },
    /// As [`Op::Fork`], one child, whose end sends no signal: only a wait with `__WALL` reaps it.
    ForkSilent {
        /// What it plays.
        block: usize,
    },
    /// As [`Op::Fork`], one child, and sleeps in the kernel until that child has ended
    /// (`CLONE_VFORK`): signals other than `SIGKILL` wait meanwhile.
    Vfork {
        /// What it plays.
        block: usize,
    },
    /// As [`Op::Fork`], one child, the first process of a user and PID namespace of its own. When
    /// it ends, the kernel kills all processes that are in the namespace. Needs leave to make user
    /// namespaces.
    ForkPidns {
        /// What it plays.
        block: usize,
    },
    /// As [`Op::Fork`], one child, which this process traces (`PTRACE_TRACEME`): a signal stops it,
    /// and nobody lets it go on.
    Trace {
        /// What it plays.
        block: usize,
    },
    /// Waits until all its children have ended, and reaps them.
    Reap,
    /// Becomes the reaper of its orphaned descendants (`PR_SET_CHILD_SUBREAPER`). It reaps them
    /// only in [`Op::Reap`].
    Subreaper,
    /// Stops itself (`SIGSTOP`) until somebody lets it go on.
    Stop,
    /// Waits until the child that it forked last has stopped or ended.
    AwaitStopped,
    /// Lets the child that it forked last go on (`SIGCONT`).
    Continue,
    /// Starts so many threads, which sleep for ever.
    Threads {
        /// How many.
        count: u32,
    },
    /// Uses a processor for so many nanoseconds; [`FOREVER`] is until killed.
    Spin {
        /// How long.
        ns: u64,
    },
    /// Raises its nice value, 0 to 19; a higher one stays.
    Nice {
        /// The value.
        value: u8,
    },
    /// Maps so much memory and writes to every page of it.
    Touch {
        /// How much.
        bytes: u64,
    },
    /// Opens so many descriptors, and keeps them. Raises its limit as far as it may.
    OpenFiles {
        /// How many.
        count: u32,
    },
    /// Changes its name (`comm`).
    Rename {
        /// To this.
        name: Comm,
    },
    /// Makes a threaded cgroup below its own and moves there. What belongs to it is then listed in
    /// the cgroup above, and its own `cgroup.procs` cannot be read. The other needs are those of
    /// [`Op::EnterCgroup`].
    EnterThreadedCgroup,
    /// Makes `depth` cgroups, each below the one before, and moves to the last.
    EnterDeepCgroup {
        /// How many.
        depth: u32,
    },
    /// Moves back to the cgroup above the one that it entered last, and keeps hold of that one.
    LeaveCgroup,
    /// Freezes the cgroup that it is in, which it has made: it does not come back.
    FreezeSelf,
    /// Freezes the cgroup that it has left.
    FreezeLeft,
    /// Thaws the cgroup that it has left.
    ThawLeft,
    /// Takes all permissions from the cgroup that it is in, which it has made.
    LockCgroup,
    /// Goes from the cgroup that it is in, which it has made, to the one above and back, so many
    /// times; [`FOREVER`] is until killed.
    Flap {
        /// How many times.
        count: u64,
    },
    /// Makes up to `count` cgroups below its own, removes them, and so on for ever. Says
    /// [`Op::Ready`] when it has made the first ones.
    ChurnCgroups {
        /// How many there are at most.
        count: u32,
    },
    /// Tries to leave the cgroup in which the main process was born: moves to every cgroup above
    /// it, and to the harness's own beside it, by `cgroup.procs` and by `clone3`. It goes where it
    /// is let, and goes on where it is then.
    Escape,
    /// Tries to kill and to stop all other members of its cgroup.
    AttackCgroup,
    /// Mounts cgroup2 in user, mount and cgroup namespaces of its own, and tries to leave its
    /// cgroup by that mount.
    MountCgroup2,
    /// Mounts so many file systems in a user and a mount namespace of its own, each in the one
    /// before.
    MountInside {
        /// How many.
        count: u32,
    },
    /// Makes so many directories, each in the one before, with long names, on a file system in a
    /// mount namespace of its own, and stays in the last: no path leads there.
    EnterDeepDirectory {
        /// How many.
        depth: u32,
    },
    /// Asks a process outside of the tree, which a trial has if its scenario says so, to do its
    /// part, and waits until it has. Once in a tree.
    Ask,
    /// Forks children that sleep until they are killed, until a limit refuses one.
    Fill,
    /// Executes the actor's program again, so many times in a row, each second time by way of a
    /// `#!` file; [`FOREVER`] is until killed. What the new program plays begins with the next
    /// operation. Needs `/proc` at the start, and the descriptors that the process began with.
    Exec {
        /// How many times.
        count: u64,
    },
    /// The same once, by a second thread, which takes over the number of the first.
    ExecFromThread,
    /// Executes the set-user-ID copy of the program that it was given, and becomes the user that
    /// the file belongs to, with no way back. The other needs are those of [`Op::Exec`].
    BecomeOther,
    /// Has the kernel start so many io_uring workers, which sleep until the process ends.
    IoWorkers {
        /// How many.
        count: u32,
    },
    /// Takes a real-time priority (`SCHED_FIFO`). Needs `RLIMIT_RTPRIO`, or to have it already.
    Realtime,
    /// Makes objects of the kernel that stay when the process ends: System V shared memory,
    /// semaphores and messages, and a POSIX message queue. Once in a tree.
    LeaveObjects,
    /// Reads one byte from the descriptor that it was given, and waits for it as that does.
    ReadGiven,
}

/// A name as the kernel keeps one for each thread: at most 15 bytes, none of them zero, otherwise
/// any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Comm([u8; 16]);

impl Comm {
    /// `None`: it is longer, or has a zero byte.
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        let fits = name.len() < bytes.len() && !name.contains(&0);
        bytes
            .get_mut(..name.len())
            .filter(|_| fits)?
            .copy_from_slice(name);
        Some(Self(bytes))
    }

    /// The bytes without what fills them up.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// What each copy of a fork bomb does before it forks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Each {
    /// Nothing.
    Nothing,
    /// Begins a session of its own (the first process cannot: it leads its group).
    Setsid,
    /// Makes a cgroup below its parent's and moves there, as [`Op::EnterCgroup`] does; a copy that
    /// cannot stays where it is.
    EnterCgroup,
}

/// How a child comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As fork(2) does.
    Plain,
    /// As a child of the forking process's parent.
    Beside,
    /// Without an exit signal.
    Silent,
    /// While the forking process sleeps.
    Vfork,
    /// In a PID namespace of its own.
    Pidns,
    /// Traced by the forking process.
    Traced,
}

/// What an operation forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// What each child plays.
    pub block: usize,
    /// How many children.
    pub count: u32,
    /// How they come into being.
    pub how: How,
}

impl Op {
    /// Whether a process that comes here never leaves by itself.
    pub fn never_ends(self) -> bool {
        matches!(
            self,
            Self::Live { ns: FOREVER }
                | Self::Spin { ns: FOREVER }
                | Self::Bomb { .. }
                | Self::ForkExitLoop
                | Self::FreezeSelf
                | Self::Flap { count: FOREVER }
                | Self::Exec { count: FOREVER }
                | Self::ChurnCgroups { .. }
        )
    }

    /// Whether a process that comes here does not come to the next operation.
    pub fn is_last(self) -> bool {
        self.never_ends() || matches!(self, Self::Exit { .. } | Self::Crash)
    }

    /// What it forks: children that play another block.
    pub fn fork(self) -> Option<Fork> {
        let (count, how) = match self {
            Self::Fork { count, .. } => (count, How::Plain),
            Self::ForkParent { .. } => (1, How::Beside),
            Self::ForkSilent { .. } => (1, How::Silent),
            Self::Vfork { .. } => (1, How::Vfork),
            Self::ForkPidns { .. } => (1, How::Pidns),
            Self::Trace { .. } => (1, How::Traced),
            _ => return None,
        };
        let block = self.block()?;
        Some(Fork { block, count, how })
    }

    /// The block that it names.
    pub fn block(mut self) -> Option<usize> {
        self.block_mut().map(|block| *block)
    }

    /// The block that it names, to be changed.
    pub fn block_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::Fork { block, .. }
            | Self::ForkParent { block }
            | Self::ForkSilent { block }
            | Self::Vfork { block }
            | Self::ForkPidns { block }
            | Self::Trace { block } => Some(block),
            _ => None,
        }
    }
}
