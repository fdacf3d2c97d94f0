//! Random scripts: valid by construction, and their trees end by themselves.

use harness::sys::ledger::BARRIERS;
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::model::{self, Ending};
use super::{Op, Script};

/// How large a random script may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Processes in all, the main process included.
    pub processes: u32,
    /// Generations below the main process.
    pub depth: u32,
    /// The longest single sleep.
    pub live_ns: u64,
    /// Whether processes may make cgroups and move there.
    pub cgroups: bool,
    /// Whether there may be threads, other ways to fork, stops, subreapers, and processes that use
    /// or hold something.
    pub others: bool,
    /// Whether such a process may fork a child of its parent (`CLONE_PARENT`).
    pub siblings: bool,
}

impl Default for Bounds {
    /// 24 processes in up to four generations, that sleep for 2 ms at most, make no cgroups, and
    /// have one thread each.
    fn default() -> Self {
        Self {
            processes: 24,
            depth: 4,
            live_ns: 2_000_000,
            cgroups: false,
            others: false,
            siblings: true,
        }
    }
}

/// The script that belongs to `seed`: always the same for the same bounds.
///
/// Never has an operation that runs for ever; everything else may come.
pub fn random(seed: u64, bounds: &Bounds) -> Script {
    let mut draft = Draft {
        rng: ChaCha12Rng::seed_from_u64(seed),
        bounds: *bounds,
        left: bounds.processes.saturating_sub(1),
        script: Script { blocks: Vec::new() },
        players: Vec::new(),
    };
    draft.block(1, 0);
    draft.untangle();
    for index in 0..draft.rng.random_range(0..=2usize.min(BARRIERS)) {
        draft.barrier(index);
    }
    draft.script
}

struct Draft {
    rng: ChaCha12Rng,
    bounds: Bounds,
    /// How many processes may still be forked.
    left: u32,
    script: Script,
    /// How many processes play each block.
    players: Vec<u32>,
}

impl Draft {
    /// Writes a block for `players` processes, and all blocks below it. Returns its index.
    fn block(&mut self, players: u32, depth: u32) -> usize {
        let block = self.script.blocks.len();
        self.script.blocks.push(Vec::new());
        self.players.push(players);
        let mut leads = block == 0;
        for _ in 0..self.rng.random_range(0..6) {
            let kinds = if self.bounds.others { 26 } else { 13 };
            let op = match self.rng.random_range(0..kinds) {
                0..=3 => self.fork(players, depth),
                4..=5 => Some(Op::Live {
                    ns: self.rng.random_range(0..=self.bounds.live_ns),
                }),
                6 if !leads => Some(Op::Setsid),
                7 if !leads => Some(Op::Setpgid),
                8 => Some(Op::CloseAll),
                9 => Some(Op::IgnoreSignals),
                10 if block != 0 => Some(Op::AwaitParent),
                11 => Some(Op::ExitLeader),
                12 if self.bounds.cgroups => Some(Op::EnterCgroup),
                12 => Some(Op::WaitGo),
                kind @ 13..=17 => self.fork_otherwise(kind, block, players, depth),
                kind @ 18.. => Some(self.other(kind)),
                _ => Some(Op::Ready),
            };
            let Some(op) = op else { continue };
            leads |= matches!(op, Op::Setsid | Op::Setpgid);
            let ops = &mut self.script.blocks[block];
            ops.push(op);
            if op == Op::AwaitStopped {
                ops.push(Op::Continue);
            }
            if op.is_last() {
                break;
            }
        }
        block
    }

    fn fork(&mut self, players: u32, depth: u32) -> Option<Op> {
        let count = self.rng.random_range(1..=3);
        let block = self.children(players, count, depth)?;
        Some(Op::Fork { block, count })
    }

    /// The block of `count` children of each of `players` processes, if there may be so many.
    fn children(&mut self, players: u32, count: u32, depth: u32) -> Option<usize> {
        let children = players * count;
        if depth >= self.bounds.depth || children > self.left {
            return None;
        }
        self.left -= children;
        Some(self.block(children, depth + 1))
    }

    /// One child that is not born as fork(2) does, or that is stopped and let go on.
    fn fork_otherwise(&mut self, kind: u32, own: usize, players: u32, depth: u32) -> Option<Op> {
        let block = self.children(players, 1, depth)?;
        Some(match kind {
            13 => Op::Vfork { block },
            14 => Op::ForkSilent { block },
            // The parent of the main process is not part of the tree.
            15 if own != 0 && self.bounds.siblings => Op::ForkParent { block },
            _ => {
                // In a session of its own: the kernel sends SIGHUP to a group that is orphaned
                // while a member of it is stopped.
                let ops = &mut self.script.blocks[block];
                ops.retain(|op| !matches!(op, Op::Setsid | Op::Setpgid));
                ops.splice(0..0, [Op::Setsid, Op::Stop]);
                self.script.blocks[own].push(Op::Fork { block, count: 1 });
                Op::AwaitStopped
            }
        })
    }

    fn other(&mut self, kind: u32) -> Op {
        match kind {
            18 => Op::Threads {
                count: self.rng.random_range(1..=2),
            },
            19 => Op::Subreaper,
            20 => Op::Reap,
            21 => Op::Exit {
                code: self.rng.random_range(0..=3),
            },
            22 => Op::Spin {
                ns: self.rng.random_range(0..=self.bounds.live_ns / 4),
            },
            23 => Op::Touch {
                bytes: self.rng.random_range(1..=64 << 10),
            },
            24 => Op::OpenFiles {
                count: self.rng.random_range(1..=16),
            },
            _ => Op::Nice {
                value: self.rng.random_range(0..20),
            },
        }
    }

    /// Takes out what waits for children that wait for it.
    fn untangle(&mut self) {
        let over = |script: &Script| {
            script.check().is_ok() && model::play(script, usize::MAX).ending == Ending::Over
        };
        if over(&self.script) {
            return;
        }
        for ops in &mut self.script.blocks {
            ops.retain(|op| *op != Op::Reap);
        }
        if over(&self.script) {
            return;
        }
        for op in self.script.blocks.iter_mut().flatten() {
            if let Op::Vfork { block } = *op {
                *op = Op::Fork { block, count: 1 };
            }
        }
    }

    /// Puts a barrier into some of the blocks, and takes it out again if processes would wait for
    /// ever.
    fn barrier(&mut self, index: usize) {
        let chosen: Vec<usize> = (0..self.script.blocks.len())
            .filter(|_| self.rng.random())
            .collect();
        let count = chosen.iter().map(|block| self.players[*block]).sum();
        let before = self.script.clone();
        for block in chosen {
            let ops = &mut self.script.blocks[block];
            let at = self.rng.random_range(0..=ops.len());
            ops.insert(at, Op::Barrier { index, count });
        }
        if self.script.check().is_err() {
            self.script = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_one_script() {
        let bounds = Bounds::default();
        assert_eq!(random(7, &bounds), random(7, &bounds));
        assert!((0..100).any(|seed| random(seed, &bounds) != random(seed + 1, &bounds)));
    }

    #[test]
    fn every_kind_of_operation_comes_up() {
        let bounds = Bounds {
            cgroups: true,
            others: true,
            ..Bounds::default()
        };
        let ops: Vec<Op> = (0..500)
            .flat_map(|seed| random(seed, &bounds).ops().collect::<Vec<_>>())
            .collect();
        let has = |what: fn(&Op) -> bool| ops.iter().any(what);
        assert!(has(|op| matches!(op, Op::Live { .. })));
        assert!(has(|op| matches!(op, Op::Fork { count: 3, .. })));
        assert!(has(|op| matches!(op, Op::Barrier { count: 2.., .. })));
        assert!(has(|op| matches!(op, Op::Vfork { .. })));
        assert!(has(|op| matches!(op, Op::ForkSilent { .. })));
        assert!(has(|op| matches!(op, Op::ForkParent { .. })));
        let alone = Bounds {
            siblings: false,
            ..bounds
        };
        let beside = |op: Op| matches!(op, Op::ForkParent { .. });
        assert!(!(0..500).any(|seed| random(seed, &alone).ops().any(beside)));
        assert!(has(|op| matches!(op, Op::Threads { .. })));
        assert!(has(|op| matches!(op, Op::Exit { .. })));
        assert!(has(|op| matches!(op, Op::Spin { .. })));
        assert!(has(|op| matches!(op, Op::Touch { .. })));
        assert!(has(|op| matches!(op, Op::OpenFiles { .. })));
        assert!(has(|op| matches!(op, Op::Nice { .. })));
        for op in [
            Op::Setsid,
            Op::Setpgid,
            Op::CloseAll,
            Op::IgnoreSignals,
            Op::AwaitParent,
            Op::EnterCgroup,
            Op::ExitLeader,
            Op::Ready,
            Op::Subreaper,
            Op::Reap,
            Op::Stop,
            Op::AwaitStopped,
            Op::Continue,
        ] {
            assert!(ops.contains(&op), "{op:?}");
        }
    }
}
