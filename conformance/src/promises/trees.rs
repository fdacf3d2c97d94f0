//! The trees of processes that most promises are tested with, and their levels.
//!
//! 0: one process, or with a child. 1: processes that leave their parent, session and descriptors,
//! as daemons do. 2: processes that ignore every signal, are stopped, have lost their first thread
//! or their environment, are many, or change their numbers for ever. 3: namespaces of their own.
//! 4: cgroups of their own.

use crate::trial::Payload;

/// One tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree {
    pub(super) name: &'static str,
    pub(super) level: u8,
    /// What the main process does before it says "ready".
    main: &'static str,
    /// The other blocks; `TAIL` is how long they live.
    blocks: &'static str,
    /// Whether its processes end by themselves when their time is over.
    pub(super) ends: bool,
    bare: bool,
}

const fn tree(name: &'static str, level: u8, main: &'static str, blocks: &'static str) -> Tree {
    Tree {
        name,
        level,
        main,
        blocks,
        ends: true,
        bare: false,
    }
}

/// All, in the order of their levels.
pub(super) const TREES: [Tree; 11] = [
    tree("alone", 0, "", ""),
    tree(
        "child",
        0,
        "fork c; barrier 0 of 2",
        "c: barrier 0 of 2; TAIL",
    ),
    tree(
        "daemon",
        1,
        "fork m; barrier 0 of 2",
        "m: setsid; fork d\nd: await-parent; barrier 0 of 2; TAIL",
    ),
    tree(
        "no-descriptors",
        1,
        "fork m; barrier 0 of 2",
        "m: setsid; fork d\nd: await-parent; close-all; barrier 0 of 2; TAIL",
    ),
    Tree {
        bare: true,
        ..tree(
            "no-environment",
            2,
            "fork m; barrier 0 of 2",
            "m: setsid; fork d\nd: await-parent; close-all; barrier 0 of 2; TAIL",
        )
    },
    tree(
        "deaf",
        2,
        "ignore-signals; fork c; fork m; barrier 0 of 3",
        "c: barrier 0 of 3; TAIL\nm: setsid; fork d\nd: await-parent; barrier 0 of 3; TAIL",
    ),
    Tree {
        ends: false,
        ..tree("stopped", 2, "fork c; await-stopped", "c: stop; TAIL")
    },
    tree(
        "leaderless",
        2,
        "fork c; barrier 0 of 2",
        "c: setsid; barrier 0 of 2; exit-leader; TAIL",
    ),
    Tree {
        ends: false,
        ..tree(
            "hopper",
            2,
            "fork h; barrier 0 of 2",
            "h: setsid; barrier 0 of 2; fork-exit-loop",
        )
    },
    tree(
        "namespace",
        3,
        "fork-pidns n; barrier 0 of 2",
        "n: setsid; barrier 0 of 2; TAIL",
    ),
    tree(
        "cgroup",
        4,
        "fork c; barrier 0 of 2",
        "c: setsid; enter-cgroup; barrier 0 of 2; TAIL",
    ),
];

impl Tree {
    /// Its main process ends with the exit code of a payload that is done as soon as all are
    /// there; the others live for `tail`.
    pub(super) fn ending(&self, tail: &str) -> Payload {
        self.payload("exit 7", tail)
    }

    /// All of it lives until it is ended, or for half a minute.
    pub(super) fn staying(&self) -> Payload {
        self.payload("live 30s", "live 30s")
    }

    fn payload(&self, then: &str, tail: &str) -> Payload {
        let main = match self.main {
            "" => String::new(),
            main => format!("{main}; "),
        };
        let blocks = self.blocks.replace("TAIL", tail);
        let script = format!("main: {main}ready; {then}\n{blocks}");
        match self.bare {
            true => Payload::Bare(script),
            false => Payload::Script(script),
        }
    }
}
