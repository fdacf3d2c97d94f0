//! Whether a script can be played.

use std::borrow::Cow;
use std::fmt;

use allgone_sys::ledger::{BARRIERS, SLOTS};

use super::model::{self, Ending};
use super::{Op, Script};

/// Where something stands in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the block.
    pub block: usize,
    /// Index of the operation in it; the whole block if there is none.
    pub op: Option<usize>,
}

/// Why a script cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScriptError {
    /// It has no main block.
    Empty,
    /// The bytes are no script.
    Unreadable(String),
    /// A fork names a block that does not exist.
    UnknownBlock {
        /// Where.
        block: usize,
        /// Which operation.
        op: usize,
        /// What it names.
        target: usize,
        /// How many there are.
        blocks: usize,
    },
    /// Blocks fork each other in a circle. What forks for ever is [`Op::Bomb`] or
    /// [`Op::ForkExitLoop`].
    Cycle {
        /// One block of the circle.
        block: usize,
    },
    /// No process plays the block.
    Unused {
        /// Which.
        block: usize,
    },
    /// Operations after one that never ends.
    Unreachable {
        /// Where.
        block: usize,
        /// Index of the operation that never ends.
        op: usize,
    },
    /// More processes than the ledger can list.
    TooManyProcesses {
        /// How many there would be.
        processes: u64,
    },
    /// No such barrier.
    UnknownBarrier {
        /// Where.
        block: usize,
        /// Which operation.
        op: usize,
        /// Which.
        index: usize,
    },
    /// A barrier is passed by another number of processes than it waits for.
    Barrier {
        /// Where.
        block: usize,
        /// Which operation.
        op: usize,
        /// Which.
        index: usize,
        /// For how many it waits.
        wanted: u32,
        /// How many come.
        arrivals: u64,
    },
    /// The processes wait for each other.
    Stuck {
        /// Where one of them waits.
        block: usize,
        /// In which operation.
        op: usize,
        /// At which barrier.
        index: usize,
    },
    /// The kernel would answer `EPERM`: the leader of a process group cannot begin a session, and
    /// the leader of a session cannot begin a group.
    Leader {
        /// Where.
        block: usize,
        /// Which operation.
        op: usize,
    },
    /// The main process has no parent in the tree.
    NoParent {
        /// Which operation.
        op: usize,
    },
}

/// The name of a block that was given none: `main`, `block-1`, `block-2`.
pub fn block_name(block: usize) -> Cow<'static, str> {
    match block {
        0 => "main".into(),
        other => format!("block-{other}").into(),
    }
}

impl ScriptError {
    /// Which part of the script it is about.
    pub fn place(&self) -> Option<Place> {
        let (block, op) = match *self {
            Self::Empty | Self::Unreadable(_) => return None,
            Self::Cycle { block } | Self::Unused { block } => (block, None),
            Self::TooManyProcesses { .. } => (0, None),
            Self::NoParent { op } => (0, Some(op)),
            // The operation that cannot be reached.
            Self::Unreachable { block, op } => (block, Some(op + 1)),
            Self::UnknownBlock { block, op, .. }
            | Self::UnknownBarrier { block, op, .. }
            | Self::Barrier { block, op, .. }
            | Self::Stuck { block, op, .. }
            | Self::Leader { block, op } => (block, Some(op)),
        };
        Some(Place { block, op })
    }

    /// What is wrong, without the place, for blocks with these names.
    pub fn told<'n>(&self, name: impl Fn(usize) -> Cow<'n, str>) -> String {
        match *self {
            Self::Empty => "a script needs a block for its main process".to_owned(),
            Self::Unreadable(ref why) => format!("could not read the script: {why}"),
            Self::UnknownBlock {
                block,
                target,
                blocks,
                ..
            } => format!(
                "block {} forks block number {target}, and there are {blocks} blocks",
                name(block)
            ),
            Self::Cycle { block } => format!(
                "block {} forks itself, directly or through others; for a tree without end use \
                    bomb or fork-exit-loop",
                name(block)
            ),
            Self::Unused { block } => format!("block {} is never forked", name(block)),
            Self::Unreachable { block, .. } => format!(
                "block {} goes on after an operation that never ends",
                name(block)
            ),
            Self::TooManyProcesses { processes } => {
                format!("the tree has {processes} processes; the ledger lists {SLOTS}")
            }
            Self::UnknownBarrier { index, .. } => {
                format!("barrier {index} does not exist; there are {BARRIERS}, and the first is 0")
            }
            Self::Barrier {
                index,
                wanted,
                arrivals,
                ..
            } => format!("barrier {index} waits for {wanted} processes and {arrivals} come"),
            Self::Stuck { index, .. } => format!("processes wait for ever at barrier {index}"),
            Self::Leader { .. } => "the process leads its group or session already".to_owned(),
            Self::NoParent { .. } => "the main process's parent is not part of the tree".to_owned(),
        }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place {
            block,
            op: Some(op),
        }) = self.place()
        {
            write!(f, "operation {} of {}: ", op + 1, block_name(block))?;
        }
        f.write_str(&self.told(block_name))
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Whether the script can be played: blocks and barriers exist, the tree is finite and no
    /// process waits for ever.
    pub fn check(&self) -> Result<(), ScriptError> {
        if self.blocks.is_empty() {
            return Err(ScriptError::Empty);
        }
        for (block, ops) in self.blocks.iter().enumerate() {
            self.check_block(block, ops)?;
        }
        let players = self.players()?;
        if let Some(block) = players.iter().position(|n| *n == 0) {
            return Err(ScriptError::Unused { block });
        }
        let processes = players.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        if usize::try_from(processes).map_or(true, |n| n > SLOTS) {
            return Err(ScriptError::TooManyProcesses { processes });
        }
        self.check_barriers(&players)
    }

    /// How many tasks the tree has at most; what forks for ever is counted once. A process without
    /// its first thread counts as two.
    pub fn tasks(&self) -> u64 {
        let Ok(players) = self.players() else {
            return u64::MAX;
        };
        let each =
            self.blocks
                .iter()
                .zip(players)
                .map(|(ops, n)| match ops.contains(&Op::ExitLeader) {
                    true => n.saturating_mul(2),
                    false => n,
                });
        each.fold(0, u64::saturating_add)
    }

    fn check_block(&self, block: usize, ops: &[Op]) -> Result<(), ScriptError> {
        let mut leads = block == 0;
        for (at, op) in ops.iter().enumerate() {
            match *op {
                Op::Fork { block: target, .. } if target >= self.blocks.len() => {
                    return Err(ScriptError::UnknownBlock {
                        block,
                        op: at,
                        target,
                        blocks: self.blocks.len(),
                    });
                }
                Op::Barrier { index, .. } if index >= BARRIERS => {
                    return Err(ScriptError::UnknownBarrier {
                        block,
                        op: at,
                        index,
                    });
                }
                Op::Setsid | Op::Setpgid if leads => {
                    return Err(ScriptError::Leader { block, op: at });
                }
                Op::Setsid | Op::Setpgid => leads = true,
                Op::AwaitParent if block == 0 => return Err(ScriptError::NoParent { op: at }),
                _ => {}
            }
            if op.never_ends() && at + 1 < ops.len() {
                return Err(ScriptError::Unreachable { block, op: at });
            }
        }
        Ok(())
    }

    /// How many processes play each block; what forks for ever is counted once.
    pub fn players(&self) -> Result<Vec<u64>, ScriptError> {
        let mut players = vec![0u64; self.blocks.len()];
        players[0] = 1;
        for block in self.order()? {
            for op in &self.blocks[block] {
                if let Op::Fork {
                    block: target,
                    count,
                } = *op
                {
                    players[target] = players[target]
                        .saturating_add(players[block].saturating_mul(u64::from(count)));
                }
            }
        }
        Ok(players)
    }

    /// The blocks, each before those that it forks.
    fn order(&self) -> Result<Vec<usize>, ScriptError> {
        let mut forked_by = vec![0usize; self.blocks.len()];
        let targets = |block: usize| {
            self.blocks[block].iter().filter_map(|op| match *op {
                Op::Fork { block, .. } => Some(block),
                _ => None,
            })
        };
        for target in (0..self.blocks.len()).flat_map(targets) {
            forked_by[target] += 1;
        }
        let mut order: Vec<usize> = (0..self.blocks.len())
            .filter(|b| forked_by[*b] == 0)
            .collect();
        let mut next = 0;
        while let Some(&block) = order.get(next) {
            next += 1;
            for target in targets(block) {
                forked_by[target] -= 1;
                if forked_by[target] == 0 {
                    order.push(target);
                }
            }
        }
        match forked_by.iter().position(|n| *n > 0) {
            Some(block) => Err(ScriptError::Cycle { block }),
            None => Ok(order),
        }
    }

    fn check_barriers(&self, players: &[u64]) -> Result<(), ScriptError> {
        let mut arrivals = [0u64; BARRIERS];
        let uses = || {
            self.blocks.iter().enumerate().flat_map(|(block, ops)| {
                ops.iter()
                    .enumerate()
                    .filter_map(move |(op, it)| match *it {
                        Op::Barrier { index, count } => Some((block, op, index, count)),
                        _ => None,
                    })
            })
        };
        for (block, _, index, _) in uses() {
            arrivals[index] = arrivals[index].saturating_add(players[block]);
        }
        for (block, op, index, wanted) in uses() {
            if u64::from(wanted) != arrivals[index] {
                return Err(ScriptError::Barrier {
                    block,
                    op,
                    index,
                    wanted,
                    arrivals: arrivals[index],
                });
            }
        }
        if uses().next().is_some()
            && let Ending::Stuck { barrier } = model::play(self, SLOTS).ending
            && let Some((block, op, index, _)) = uses().find(|u| u.2 == barrier)
        {
            return Err(ScriptError::Stuck { block, op, index });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Each;
    use super::*;
    use Op::{AwaitParent, Barrier, Bomb, Fork, Live, Ready, Setpgid, Setsid};

    fn error(blocks: Vec<Vec<Op>>) -> ScriptError {
        Script::new(blocks).unwrap_err()
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        let fork = |block| Fork { block, count: 1 };
        assert_eq!(error(vec![]), ScriptError::Empty);
        assert_eq!(
            error(vec![vec![fork(1)]]),
            ScriptError::UnknownBlock {
                block: 0,
                op: 0,
                target: 1,
                blocks: 1
            }
        );
        assert_eq!(error(vec![vec![fork(0)]]), ScriptError::Cycle { block: 0 });
        assert_eq!(
            error(vec![vec![fork(1)], vec![Setsid, Setpgid]]).to_string(),
            "operation 2 of block-1: the process leads its group or session already"
        );
        assert_eq!(
            error(vec![vec![fork(1)], vec![fork(2)], vec![fork(1)]]),
            ScriptError::Cycle { block: 1 }
        );
        assert_eq!(
            error(vec![vec![], vec![]]),
            ScriptError::Unused { block: 1 }
        );
        assert_eq!(
            error(vec![vec![Fork { block: 1, count: 0 }], vec![]]),
            ScriptError::Unused { block: 1 }
        );
        assert_eq!(
            error(vec![vec![
                Bomb {
                    each: Each::Nothing
                },
                Ready
            ]]),
            ScriptError::Unreachable { block: 0, op: 0 }
        );
        assert_eq!(
            error(vec![vec![Setsid]]),
            ScriptError::Leader { block: 0, op: 0 }
        );
        assert_eq!(
            error(vec![vec![fork(1)], vec![Setpgid, Setsid]]),
            ScriptError::Leader { block: 1, op: 1 }
        );
        assert_eq!(
            error(vec![vec![AwaitParent]]),
            ScriptError::NoParent { op: 0 }
        );
        assert_eq!(
            error(vec![vec![Barrier {
                index: 16,
                count: 1
            }]]),
            ScriptError::UnknownBarrier {
                block: 0,
                op: 0,
                index: 16
            }
        );
    }

    #[test]
    fn a_tree_larger_than_the_ledger_is_refused() {
        let many = Fork {
            block: 1,
            count: 200,
        };
        assert_eq!(
            error(vec![
                vec![many],
                vec![Fork {
                    block: 2,
                    count: 200
                }],
                vec![]
            ]),
            ScriptError::TooManyProcesses { processes: 40_201 }
        );
        let huge = |block| Fork {
            block,
            count: u32::MAX,
        };
        assert_eq!(
            error(vec![vec![huge(1)], vec![huge(2)], vec![huge(3)], vec![]]),
            ScriptError::TooManyProcesses {
                processes: u64::MAX
            }
        );
    }

    #[test]
    fn barriers_have_to_add_up_and_must_not_block_each_other() {
        let at = |index, count| Barrier { index, count };
        let fork = |count| Fork { block: 1, count };
        assert!(Script::new(vec![vec![fork(2), at(0, 3)], vec![at(0, 3)]]).is_ok());
        assert_eq!(
            error(vec![vec![fork(2), at(0, 2)], vec![at(0, 3)]]),
            ScriptError::Barrier {
                block: 0,
                op: 1,
                index: 0,
                wanted: 2,
                arrivals: 3
            }
        );
        assert_eq!(
            error(vec![vec![at(0, 2), fork(1)], vec![at(0, 2)]]),
            ScriptError::Stuck {
                block: 0,
                op: 0,
                index: 0
            }
        );
        assert_eq!(
            error(vec![
                vec![fork(1), at(0, 2), at(1, 2)],
                vec![at(1, 2), at(0, 2)]
            ]),
            ScriptError::Stuck {
                block: 0,
                op: 1,
                index: 0
            }
        );
        assert_eq!(
            error(vec![vec![fork(1), at(0, 2)], vec![AwaitParent, at(0, 2)]]),
            ScriptError::Stuck {
                block: 0,
                op: 1,
                index: 0
            }
        );
        assert!(Script::new(vec![vec![fork(1), Live { ns: 0 }], vec![AwaitParent]]).is_ok());
    }
}
