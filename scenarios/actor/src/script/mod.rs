//! The small language of process trees.
//!
//! A script is a list of blocks, a block is a list of operations. The main process plays block 0; a
//! fork names the block that the child plays; a process ends when its block does. There are no
//! loops and no variables: what repeats for ever has an operation of its own ([`Op::Bomb`],
//! [`Op::ForkExitLoop`]).
//!
//! To add an operation: a variant here, its line in the table of [`crate::text`], its arm in
//! [`model`] (what follows from it) and its arm in `crate::play` (what it does, in the module of
//! its family). The compiler names all four places.

mod check;
mod error;
pub mod model;
mod op;

use serde::{Deserialize, Serialize};

pub use allgone::param::FOREVER;
use allgone_sys::ledger::SLOTS;
pub use error::{Place, ScriptError, block_name};
pub use op::{Comm, Each, Fork, How, Op};

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
        let stops = || self.ops().any(|op| op == Op::Stop);
        !self.ops().any(Op::never_ends)
            && (!stops() || model::play(self, SLOTS).ending == model::Ending::Over)
    }

    /// Whether a process says "ready".
    pub fn says_ready(&self) -> bool {
        self.ops()
            .any(|op| matches!(op, Op::Ready | Op::Bomb { .. } | Op::ChurnCgroups { .. }))
    }

    /// Whether a process makes cgroups.
    pub fn makes_cgroups(&self) -> bool {
        let makes = |op| {
            matches!(
                op,
                Op::EnterCgroup
                    | Op::EnterThreadedCgroup
                    | Op::EnterDeepCgroup { .. }
                    | Op::ChurnCgroups { .. }
                    | Op::Bomb {
                        each: Each::EnterCgroup
                    }
            )
        };
        self.ops().any(makes)
    }

    /// Whether a process has to know the path of its cgroup.
    pub fn needs_own_cgroup(&self) -> bool {
        let needs = |op| matches!(op, Op::Escape | Op::AttackCgroup);
        self.makes_cgroups() || self.ops().any(needs)
    }

    /// Whether a process executes the actor's program again.
    pub fn executes(&self) -> bool {
        let executes = |op| matches!(op, Op::Exec { .. } | Op::ExecFromThread | Op::BecomeOther);
        self.ops().any(executes)
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
