//! Whether a script can be played.

use allgone_sys::ledger::{BARRIERS, SLOTS};

use super::model::{self, Ending};
use super::{Fork, How, Op, Script, ScriptError};

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
        self.check_parents()?;
        self.check_barriers(&players)?;
        self.check_waits()
    }

    /// How many tasks the tree has at most; what forks for ever is counted once. A process without
    /// its first thread counts as two.
    pub fn tasks(&self) -> u64 {
        let Ok(players) = self.players() else {
            return u64::MAX;
        };
        let each = self.blocks.iter().zip(players).map(|(ops, n)| {
            let more = ops.iter().map(|op| match *op {
                Op::ExitLeader => 1,
                Op::Threads { count } | Op::IoWorkers { count } => u64::from(count),
                Op::ExecFromThread => 1,
                _ => 0,
            });
            n.saturating_mul(more.fold(1, u64::saturating_add))
        });
        each.fold(0, u64::saturating_add)
    }

    fn check_block(&self, block: usize, ops: &[Op]) -> Result<(), ScriptError> {
        let mut leads = block == 0;
        for (at, op) in ops.iter().enumerate() {
            if let Some(target) = op.block().filter(|target| *target >= self.blocks.len()) {
                return Err(ScriptError::UnknownBlock {
                    block,
                    op: at,
                    target,
                    blocks: self.blocks.len(),
                });
            }
            match *op {
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
                Op::AwaitStopped | Op::Continue
                    if !ops[..at].iter().any(|op| op.fork().is_some()) =>
                {
                    return Err(ScriptError::NoChild { block, op: at });
                }
                _ => {}
            }
            if op.is_last() && at + 1 < ops.len() {
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
                if let Some(Fork {
                    block: target,
                    count,
                    ..
                }) = op.fork()
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
        let targets = |block: usize| self.blocks[block].iter().filter_map(|op| op.block());
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

    /// Whether each process that waits for its parent has one that it can wait for.
    fn check_parents(&self) -> Result<(), ScriptError> {
        let waits = |block: usize| {
            self.blocks[block]
                .iter()
                .position(|o| *o == Op::AwaitParent)
        };
        let none = |block, why| match waits(block) {
            Some(op) => Err(ScriptError::NoParent { block, op, why }),
            None => Ok(()),
        };
        none(0, "is not part of the tree")?;
        for (forker, ops) in self.blocks.iter().enumerate() {
            for fork in ops.iter().filter_map(|op| op.fork()) {
                match fork.how {
                    How::Beside if forker == 0 => none(fork.block, "is not part of the tree")?,
                    How::Vfork => none(fork.block, "sleeps until the process has ended")?,
                    How::Pidns => none(fork.block, "is not in its PID namespace")?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether processes that wait for each other's ends come to one.
    fn check_waits(&self) -> Result<(), ScriptError> {
        let waits = |op| matches!(op, Op::Reap | Op::AwaitStopped | Op::Vfork { .. });
        if self.ops().any(waits)
            && let Ending::Deadlock { block, op } = model::play(self, SLOTS).ending
        {
            return Err(ScriptError::Deadlock { block, op });
        }
        Ok(())
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
#[path = "check_tests.rs"]
mod tests;
