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
        ScriptError::NoParent {
            block: 0,
            op: 0,
            why: "is not part of the tree"
        }
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

#[test]
fn who_waits_for_a_parent_or_a_child_has_one() {
    let waits = |fork| {
        let error = error(vec![vec![fork], vec![AwaitParent]]);
        assert!(
            matches!(
                error,
                ScriptError::NoParent {
                    block: 1,
                    op: 0,
                    ..
                }
            ),
            "{error}"
        );
    };
    waits(Op::ForkParent { block: 1 });
    waits(Op::Vfork { block: 1 });
    waits(Op::ForkPidns { block: 1 });
    assert!(Script::new(vec![vec![Op::ForkSilent { block: 1 }], vec![AwaitParent]]).is_ok());
    for op in [Op::AwaitStopped, Op::Continue] {
        assert_eq!(
            error(vec![vec![op]]),
            ScriptError::NoChild { block: 0, op: 0 }
        );
    }
}

#[test]
fn who_waits_for_each_other_waits_for_ever() {
    let fork = Fork { block: 1, count: 1 };
    assert_eq!(
        error(vec![vec![fork, Op::Reap], vec![AwaitParent]]),
        ScriptError::Deadlock { block: 0, op: 1 }
    );
    assert!(Script::new(vec![vec![fork, Op::Reap], vec![Live { ns: 1 }]]).is_ok());
    // It waits for a process that lives until it is killed: that is no circle.
    assert!(Script::new(vec![vec![fork, Op::Reap], vec![Op::Stop]]).is_ok());
    assert_eq!(
        error(vec![vec![Op::Exit { code: 7 }, Ready]]),
        ScriptError::Unreachable { block: 0, op: 0 }
    );
}
