//! From what a scope sees of a tree to the expectations for its mechanisms.
//!
//! Each scenario states, per scope, what that scope [`Sees`]; the rest follows here, once for all
//! scenarios.

use harness::expect::{Expectation, KillExpectation, Scope, Sweep};
use harness::param::FOREVER;

/// A tree that lives on for at least this long after a mechanism has lost sight of it is missed in
/// every trial; one that ends sooner may have ended before the mechanism reads.
pub const CERTAIN_NS: u64 = 20_000_000;

/// What a scope sees of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Every process, from birth to death.
    All,
    /// Not all: it is empty while a process lives on. The reason names what it cannot see.
    Part(&'static str),
    /// All or not, depending on the order of events.
    Race(&'static str),
}

impl Sees {
    /// What each scope reaches of a main process and its children, all alive.
    pub fn of_companions(scope: Scope) -> Self {
        match scope {
            Scope::Main => Self::Part("only the first of several is killed"),
            Scope::ProcessGroup
            | Scope::Session
            | Scope::ReapedDescendants
            | Scope::LinkedDescendants
            | Scope::FdHolders
            | Scope::User
            | Scope::PidNamespace
            | Scope::Cgroup
            | Scope::CgroupAlone
            | Scope::SystemWide => Self::All,
        }
    }

    /// What each scope sees of children that outlive the main process and do nothing else to hide.
    pub fn of_orphans(scope: Scope) -> Self {
        match scope {
            Scope::Main => Self::Part("the main process has ended, its child is alive"),
            Scope::LinkedDescendants => Self::Race(
                "the child is an orphan: a mechanism that has not seen it before its parent ended \
                    finds no link to it",
            ),
            Scope::ProcessGroup
            | Scope::Session
            | Scope::ReapedDescendants
            | Scope::FdHolders
            | Scope::User
            | Scope::PidNamespace
            | Scope::Cgroup
            | Scope::CgroupAlone
            | Scope::SystemWide => Self::All,
        }
    }

    /// What each scope reaches of a tree that forks without end and does nothing else to hide.
    pub fn of_bomb(scope: Scope) -> Self {
        match scope {
            Scope::Main => Self::Part("only the first of many is killed"),
            Scope::ReapedDescendants
            | Scope::LinkedDescendants
            | Scope::FdHolders
            | Scope::SystemWide => {
                Self::Race("members are found one by one, while others are born")
            }
            Scope::ProcessGroup
            | Scope::Session
            | Scope::User
            | Scope::PidNamespace
            | Scope::Cgroup
            | Scope::CgroupAlone => Self::All,
        }
    }

    /// The same of one of which every copy begins a session of its own.
    pub fn of_bomb_of_sessions(scope: Scope) -> Self {
        match scope {
            Scope::ProcessGroup => Self::Part("every copy is in a process group of its own"),
            Scope::Session => Self::Part("every copy is in a session of its own"),
            other => Self::of_bomb(other),
        }
    }

    /// The expectation for a detector. `alone_ns`: how long the tree lives on after its main
    /// process.
    pub fn expect(self, alone_ns: u64) -> Expectation {
        match (self, alone_ns) {
            (Self::All, FOREVER) => Expectation::NeverFires("a process of the tree lives for ever"),
            (Self::All, _) => Expectation::Sound,
            (Self::Part(why), CERTAIN_NS..) => Expectation::Early(why),
            (Self::Race(_), FOREVER) => Expectation::NotApplicable(
                "the tree never ends, and whether it is lost from sight is a race",
            ),
            (Self::Part(why) | Self::Race(why), _) => Expectation::MayBeEarly(why),
        }
    }

    /// The expectation for a strategy, for a tree that no longer changes. `alone_ns`: how long the
    /// tree lives on by itself.
    pub fn expect_kill(self, alone_ns: u64) -> KillExpectation {
        match self {
            Self::All => KillExpectation::Empties,
            Self::Part(why) if alone_ns == FOREVER => KillExpectation::Survives(why),
            Self::Part(why) | Self::Race(why) => KillExpectation::MaySurvive(why),
        }
    }

    /// The expectation for a strategy, for a tree that forks without end.
    pub fn expect_kill_of_bomb(self, sweep: Sweep) -> KillExpectation {
        match (self, sweep) {
            (Self::All, Sweep::Atomic | Sweep::Held) => KillExpectation::Empties,
            (Self::All, Sweep::UntilNone) => KillExpectation::MaySurvive(
                "each pass races against new births; nothing says that it wins before the deadline",
            ),
            (Self::All, Sweep::Once) => {
                KillExpectation::MaySurvive("a process that is born during the pass is not in it")
            }
            (Self::Part(why), _) => KillExpectation::Survives(why),
            (Self::Race(why), _) => KillExpectation::MaySurvive(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_tree_makes_certainty_a_race() {
        let part = Sees::Part("x");
        assert_eq!(part.expect(0), Expectation::MayBeEarly("x"));
        assert_eq!(part.expect(CERTAIN_NS), Expectation::Early("x"));
        assert_eq!(part.expect(FOREVER), Expectation::Early("x"));
        assert_eq!(part.expect_kill(0), KillExpectation::MaySurvive("x"));
        assert_eq!(part.expect_kill(FOREVER), KillExpectation::Survives("x"));
        assert_eq!(Sees::All.expect(0), Expectation::Sound);
        assert_eq!(
            Sees::All.expect_kill_of_bomb(Sweep::Held),
            KillExpectation::Empties
        );
    }
}
