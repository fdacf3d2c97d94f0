//! The small language of process trees.
//!
//! A script is a list of blocks, a block is a list of operations. The main process plays block 0; a
//! fork names the block that the child plays; a process ends when its block does. There are no
//! loops and no variables: what repeats for ever has an operation of its own ([`Op::Bomb`],
//! [`Op::ForkExitLoop`]).
//!
//! To add an operation: a variant here, its line in the table of [`crate::text`], its arm in
//! [`model`] (what follows from it) and its arm in [`crate::play`] (what it does, in the module of
//! its family). The compiler names all four places.

mod check;
pub mod model;

use serde::{Deserialize, Serialize};

pub use allgone::param::FOREVER;
pub use check::{Place, ScriptError, block_name};

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

impl Op {
    /// Whether a process that comes here never leaves by itself.
    pub fn never_ends(self) -> bool {
        matches!(
            self,
            Self::Live { ns: FOREVER } | Self::Bomb { .. } | Self::ForkExitLoop
        )
    }
}

/// A tree of processes, as a program. [`Script::check`] says whether it can be played.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What processes play; the main process plays the first.
    pub blocks: Vec<Vec<Op>>,
}

impl Script {
    /// A script that has been checked.
    pub fn new(blocks: Vec<Vec<Op>>) -> Result<Self, ScriptError> {
        let script = Self { blocks };
        script.check()?;
        Ok(script)
    }

    /// Whether its tree ends without being killed.
    pub fn ends_by_itself(&self) -> bool {
        !self.ops().any(Op::never_ends)
    }

    /// Whether a process says "ready".
    pub fn says_ready(&self) -> bool {
        self.ops()
            .any(|op| matches!(op, Op::Ready | Op::Bomb { .. }))
    }

    /// Whether a process makes cgroups.
    pub fn makes_cgroups(&self) -> bool {
        let makes = |op| {
            matches!(
                op,
                Op::EnterCgroup
                    | Op::Bomb {
                        each: Each::EnterCgroup
                    }
            )
        };
        self.ops().any(makes)
    }

    /// All operations, in the order of the blocks.
    pub fn ops(&self) -> impl Iterator<Item = Op> + '_ {
        self.blocks.iter().flatten().copied()
    }

    /// As an actor reads it: JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect(
            "a script is made of numbers, strings and lists, and writing to memory does not fail",
        )
    }

    /// Reads what [`Script::to_bytes`] wrote, and checks it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ScriptError> {
        let script: Self =
            serde_json::from_slice(bytes).map_err(|e| ScriptError::Unreadable(e.to_string()))?;
        script.check()?;
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_does_can_be_asked() {
        let with = |op| Script {
            blocks: vec![vec![Op::Fork { block: 1, count: 1 }], vec![op]],
        };
        let bomb = |each| with(Op::Bomb { each });
        assert!(with(Op::Live { ns: 1 }).ends_by_itself());
        assert!(!with(Op::Live { ns: FOREVER }).ends_by_itself());
        assert!(!with(Op::ForkExitLoop).ends_by_itself() && !with(Op::ForkExitLoop).says_ready());
        assert!(with(Op::Ready).says_ready() && bomb(Each::Setsid).says_ready());
        assert!(with(Op::EnterCgroup).makes_cgroups() && bomb(Each::EnterCgroup).makes_cgroups());
        assert!(!bomb(Each::Nothing).makes_cgroups());
    }

    #[test]
    fn bytes_that_are_no_script_are_refused() {
        for bad in [
            &b""[..],
            b"{}",
            b"{\"blocks\":[]}",
            b"{\"blocks\":[[\"jump\"]]}",
            b"{\"blocks\":[[]],\"x\":1}",
        ] {
            assert!(
                Script::from_bytes(bad).is_err(),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }
}
