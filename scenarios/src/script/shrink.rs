//! Smaller scripts that may fail in the same way.

use super::{FOREVER, Op, Script};

/// The valid scripts that are one step smaller than `script`, boldest steps first: without one
/// block and all below it, without one generation, without one barrier, without one operation, with
/// fewer children or shorter sleeps. Following them always comes to an end.
pub fn smaller(script: &Script) -> impl Iterator<Item = Script> + use<> {
    let mut found = Vec::new();
    for block in 1..script.blocks.len() {
        found.push(without(script, |op| op.block() == Some(block)));
    }
    found.extend((1..script.blocks.len()).flat_map(|block| lifted(script, block)));
    for index in script.ops().filter_map(barrier) {
        found.push(without(script, |op| barrier(*op) == Some(index)));
    }
    for block in 0..script.blocks.len() {
        for at in 0..script.blocks[block].len() {
            let mut candidate = script.clone();
            let op = candidate.blocks[block].remove(at);
            if barrier(op).is_none() {
                found.push(candidate);
            }
            if let Some(less) = less(op) {
                let mut candidate = script.clone();
                candidate.blocks[block][at] = less;
                found.push(candidate);
            }
        }
    }
    found.into_iter().filter_map(mend)
}

fn barrier(op: Op) -> Option<usize> {
    match op {
        Op::Barrier { index, .. } => Some(index),
        _ => None,
    }
}

fn without(script: &Script, unwanted: impl Fn(&Op) -> bool) -> Script {
    let keep = |ops: &Vec<Op>| ops.iter().filter(|op| !unwanted(op)).copied().collect();
    Script {
        blocks: script.blocks.iter().map(keep).collect(),
    }
}

/// The scripts in which the block that forks `block` forks one of its children instead, for each of
/// them. Only where `block` is forked once: elsewhere it would stay, and the script would not be
/// smaller.
fn lifted(script: &Script, block: usize) -> Vec<Script> {
    let forks = |op: &Op| op.block() == Some(block);
    if script.ops().filter(forks).count() != 1 {
        return Vec::new();
    }
    let children = script.blocks[block]
        .iter()
        .copied()
        .filter(|op| op.fork().is_some());
    let with = |child: Op| {
        let mut lifted = script.clone();
        for op in lifted.blocks.iter_mut().flatten().filter(|op| forks(op)) {
            *op = child;
        }
        lifted
    };
    children.map(with).collect()
}

/// The same operation with half the number.
fn less(op: Op) -> Option<Op> {
    match op {
        Op::Fork {
            block,
            count: count @ 2..,
        } => Some(Op::Fork {
            block,
            count: count / 2,
        }),
        Op::Live { ns } if ns != 0 && ns != FOREVER => Some(Op::Live { ns: ns / 2 }),
        Op::Spin { ns } if ns != 0 && ns != FOREVER => Some(Op::Spin { ns: ns / 2 }),
        Op::Threads { count: count @ 2.. } => Some(Op::Threads { count: count / 2 }),
        Op::Vfork { block } | Op::ForkSilent { block } | Op::ForkParent { block } => {
            Some(Op::Fork { block, count: 1 })
        }
        _ => None,
    }
}

/// Drops blocks that are not played any more, and adjusts the barriers to the processes that still
/// come.
fn mend(mut script: Script) -> Option<Script> {
    loop {
        let players = script.players().ok()?;
        match players.iter().position(|n| *n == 0) {
            Some(unused) => drop_block(&mut script, unused),
            None => {
                count_barriers(&mut script, &players)?;
                return script.check().is_ok().then_some(script);
            }
        }
    }
}

fn drop_block(script: &mut Script, unused: usize) {
    script.blocks.remove(unused);
    for op in script.blocks.iter_mut().flatten() {
        if let Some(block) = op.block_mut()
            && *block > unused
        {
            *block -= 1;
        }
    }
}

fn count_barriers(script: &mut Script, players: &[u64]) -> Option<()> {
    let arrivals = |blocks: &[Vec<Op>], index| -> u64 {
        let here = |(ops, n): (&Vec<Op>, &u64)| {
            ops.iter()
                .filter(|op| barrier(**op) == Some(index))
                .map(|_| *n)
                .sum::<u64>()
        };
        blocks.iter().zip(players).map(here).sum()
    };
    let before = script.blocks.clone();
    for op in script.blocks.iter_mut().flatten() {
        if let Op::Barrier { index, count } = op {
            *count = u32::try_from(arrivals(&before, *index)).ok()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_nobody_plays_goes_and_the_others_are_renumbered() {
        let fork = |block| Op::Fork { block, count: 1 };
        let at = Op::Barrier { index: 0, count: 3 };
        let script = Script::new(vec![
            vec![fork(1), fork(2), at],
            vec![at],
            vec![at, fork(3)],
            vec![],
        ])
        .unwrap();
        let without_first = smaller(&script).next().unwrap();
        let at = Op::Barrier { index: 0, count: 2 };
        assert_eq!(
            without_first.blocks,
            vec![vec![fork(1), at], vec![at, fork(2)], vec![]]
        );
        assert_eq!(
            smaller(&Script {
                blocks: vec![vec![]]
            })
            .count(),
            0
        );
    }
}
