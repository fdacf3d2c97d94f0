//! What ought to happen: the words in which scenarios state expectations without knowing who watches or kills.
//!
//! A scenario answers for a *scope* (what a mechanism can see or reach), never for a mechanism by name. A new detector gets its row of
//! expectations by declaring its scope.

use serde::{Deserialize, Serialize};

pub use crate::record::{Canary, Plane};

/// The set of processes that a mechanism can see, or reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The process that was started, nothing else.
    Main,
    /// Members of the process group of the main process.
    ProcessGroup,
    /// Members of its session.
    Session,
    /// Descendants, as far as they are handed to the observer when their parents die (subreaper).
    ReapedDescendants,
    /// Descendants as seen by walking parent links of live processes: an orphan is lost.
    LinkedDescendants,
    /// Whoever holds an inherited descriptor open.
    FdHolders,
    /// Processes of one dedicated user.
    User,
    /// Members of a PID namespace.
    PidNamespace,
    /// Members of a cgroup and of all its descendants.
    Cgroup,
    /// Members of the cgroup itself; those who moved to a descendant are lost.
    CgroupAlone,
    /// Everything on the machine, from which the set is worked out.
    SystemWide,
}

impl Scope {
    /// All scopes, for tests that an expectation is total.
    pub const ALL: [Self; 11] = [
        Self::Main,
        Self::ProcessGroup,
        Self::Session,
        Self::ReapedDescendants,
        Self::LinkedDescendants,
        Self::FdHolders,
        Self::User,
        Self::PidNamespace,
        Self::Cgroup,
        Self::CgroupAlone,
        Self::SystemWide,
    ];
}

/// What a detector of some scope is expected to say about a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Says "empty", and not before it is true.
    Sound,
    /// Says "empty" while something lives, in every trial. The reason names what it cannot see.
    Early(&'static str),
    /// May say "empty" while something lives: it is a race.
    MayBeEarly(&'static str),
    /// Does not say "empty" before the deadline.
    NeverFires(&'static str),
    /// Says that the site was removed, or that it does not know; both are honest, "empty" and silence are not.
    Removed(&'static str),
    /// Sleeps on although all is over (a lost wake-up), or not: either is recorded, neither is claimed.
    MayBeLost(&'static str),
    /// The pair makes no sense and is not run.
    NotApplicable(&'static str),
}

/// How a strategy goes about the processes that it can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sweep {
    /// The kernel does it in one go; a fork in progress dies too.
    Atomic,
    /// Members are stopped from forking first, then killed one by one.
    Held,
    /// Members are killed one by one, over and over, until none is seen.
    UntilNone,
    /// One pass over the members.
    Once,
}

/// What a strategy can reach, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reach {
    /// Whom.
    pub scope: Scope,
    /// How.
    pub sweep: Sweep,
}

/// What is expected to be left after a strategy has issued its kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillExpectation {
    /// Nothing.
    Empties,
    /// Something may be left: it is a race, or depends on timing.
    MaySurvive(&'static str),
    /// Something is left in every trial.
    Survives(&'static str),
    /// The pair makes no sense and is not run.
    NotApplicable(&'static str),
}
