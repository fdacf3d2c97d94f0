//! The table of operations: one line each, from which the reader, the printer and the help are
//! made.

use std::borrow::Cow;

use super::TextError;
use super::argument::{
    Argument, Barrier, Block, Code, Copies, Count, Name, Nice, Of, Size, Step, Time, Times,
};
use super::lex::Words;
use crate::script::Op;

/// The names of blocks, for printing.
pub(super) type Names<'a, 'n> = &'a dyn Fn(usize) -> Cow<'n, str>;

macro_rules! operations {
    ($($word:literal $op:ident { $($field:ident: $kind:ident),* })*) => {
        /// The words that operations begin with.
        pub const WORDS: &[&str] = &[$($word),*];

        /// How an operation is written: its word and what follows.
        pub fn usage(word: &str) -> Option<String> {
            match word {
                $($word => Some([$word, $(<$kind as Argument>::USAGE),*].join(" ")),)*
                _ => None,
            }
        }

        /// The operation that begins with `word`; `None`: no operation does.
        pub(super) fn read(word: &str, words: &mut Words<'_, '_>) -> Result<Option<Op>, TextError> {
            Ok(Some(match word {
                $($word => Op::$op { $($field: $kind::read(words)?),* },)*
                _ => return Ok(None),
            }))
        }

        /// The operation as it is written.
        pub(super) fn write(op: Op, names: Names<'_, '_>) -> String {
            match op {
                $(Op::$op { $($field),* } => {
                    let parts: &[String] = &[$word.to_owned(), $($kind::write($field, names)),*];
                    let parts = parts.iter().filter(|part| !part.is_empty());
                    parts.map(String::as_str).collect::<Vec<_>>().join(" ")
                })*
            }
        }
    };
}

operations! {
    "live" Live { ns: Time }
    "fork" Fork { block: Block, count: Copies }
    "setsid" Setsid {}
    "setpgid" Setpgid {}
    "close-all" CloseAll {}
    "ignore-signals" IgnoreSignals {}
    "await-parent" AwaitParent {}
    "barrier" Barrier { index: Barrier, count: Of }
    "wait-go" WaitGo {}
    "ready" Ready {}
    "exit-leader" ExitLeader {}
    "enter-cgroup" EnterCgroup {}
    "bomb" Bomb { each: Step }
    "fork-exit-loop" ForkExitLoop {}
    "exit" Exit { code: Code }
    "crash" Crash {}
    "fork-parent" ForkParent { block: Block }
    "fork-silent" ForkSilent { block: Block }
    "vfork" Vfork { block: Block }
    "fork-pidns" ForkPidns { block: Block }
    "trace" Trace { block: Block }
    "reap" Reap {}
    "subreaper" Subreaper {}
    "stop" Stop {}
    "await-stopped" AwaitStopped {}
    "continue" Continue {}
    "threads" Threads { count: Count }
    "spin" Spin { ns: Time }
    "nice" Nice { value: Nice }
    "touch" Touch { bytes: Size }
    "open-files" OpenFiles { count: Count }
    "rename" Rename { name: Name }
    "enter-threaded-cgroup" EnterThreadedCgroup {}
    "enter-deep-cgroup" EnterDeepCgroup { depth: Count }
    "leave-cgroup" LeaveCgroup {}
    "freeze-self" FreezeSelf {}
    "freeze-left" FreezeLeft {}
    "thaw-left" ThawLeft {}
    "lock-cgroup" LockCgroup {}
    "flap" Flap { count: Times }
    "churn-cgroups" ChurnCgroups { count: Count }
    "escape" Escape {}
    "attack-cgroup" AttackCgroup {}
    "mount-cgroup2" MountCgroup2 {}
    "mount-inside" MountInside { count: Count }
    "enter-deep-directory" EnterDeepDirectory { depth: Count }
    "ask" Ask {}
    "fill" Fill {}
    "exec" Exec { count: Times }
    "exec-from-thread" ExecFromThread {}
    "become-other" BecomeOther {}
    "io-workers" IoWorkers { count: Count }
    "realtime" Realtime {}
    "leave-objects" LeaveObjects {}
    "read-given" ReadGiven {}
}
