//! Why a script cannot be played, and where.

use std::borrow::Cow;
use std::fmt;

use allgone_sys::ledger::{BARRIERS, SLOTS};

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
    /// Blocks fork each other in a circle. What forks for ever is [`Op::Bomb`](super::Op::Bomb) or
    /// [`Op::ForkExitLoop`](super::Op::ForkExitLoop).
    Cycle {
        /// One block of the circle.
        block: usize,
    },
    /// No process plays the block.
    Unused {
        /// Which.
        block: usize,
    },
    /// Operations after one that ends the process or never ends.
    Unreachable {
        /// Where.
        block: usize,
        /// Index of the operation that is the last.
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
    /// The process's parent is not part of the tree, or not of its PID namespace, or sleeps until
    /// this process has ended.
    NoParent {
        /// Where.
        block: usize,
        /// Which operation.
        op: usize,
        /// What the parent is.
        why: &'static str,
    },
    /// An operation on the child that was forked last, and the block has forked none before.
    NoChild {
        /// Where.
        block: usize,
        /// Which operation.
        op: usize,
    },
    /// The processes wait for each other's ends.
    Deadlock {
        /// Where one of them waits.
        block: usize,
        /// In which operation.
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
            // The operation that is never reached.
            Self::Unreachable { block, op } => (block, Some(op + 1)),
            Self::UnknownBlock { block, op, .. }
            | Self::UnknownBarrier { block, op, .. }
            | Self::Barrier { block, op, .. }
            | Self::Stuck { block, op, .. }
            | Self::Leader { block, op }
            | Self::NoParent { block, op, .. }
            | Self::NoChild { block, op }
            | Self::Deadlock { block, op } => (block, Some(op)),
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
                "block {} goes on after an operation that ends the process or never ends",
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
            Self::NoParent { why, .. } => format!("the process's parent {why}"),
            Self::NoChild { .. } => "the block has forked no child before".to_owned(),
            Self::Deadlock { .. } => "processes wait for each other for ever".to_owned(),
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
