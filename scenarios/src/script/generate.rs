//! Random scripts: valid by construction, and their trees end by themselves.

use harness::sys::ledger::BARRIERS;
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

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
}

impl Default for Bounds {
    /// 24 processes in up to four generations, that sleep for 2 ms at most and make no cgroups.
    fn default() -> Self {
        Self {
            processes: 24,
            depth: 4,
            live_ns: 2_000_000,
            cgroups: false,
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
            let op = match self.rng.random_range(0..13) {
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
                _ => Some(Op::Ready),
            };
            if let Some(op) = op {
                leads |= matches!(op, Op::Setsid | Op::Setpgid);
                self.script.blocks[block].push(op);
            }
        }
        block
    }

    fn fork(&mut self, players: u32, depth: u32) -> Option<Op> {
        let count = self.rng.random_range(1..=3);
        let children = players * count;
        if depth >= self.bounds.depth || children > self.left {
            return None;
        }
        self.left -= children;
        let block = self.block(children, depth + 1);
        Some(Op::Fork { block, count })
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
            ..Bounds::default()
        };
        let ops: Vec<Op> = (0..500)
            .flat_map(|seed| random(seed, &bounds).ops().collect::<Vec<_>>())
            .collect();
        let has = |what: fn(&Op) -> bool| ops.iter().any(what);
        assert!(has(|op| matches!(op, Op::Live { .. })));
        assert!(has(|op| matches!(op, Op::Fork { count: 3, .. })));
        assert!(has(|op| matches!(op, Op::Barrier { count: 2.., .. })));
        for op in [
            Op::Setsid,
            Op::Setpgid,
            Op::CloseAll,
            Op::IgnoreSignals,
            Op::AwaitParent,
            Op::EnterCgroup,
            Op::ExitLeader,
            Op::Ready,
        ] {
            assert!(ops.contains(&op), "{op:?}");
        }
    }
}
