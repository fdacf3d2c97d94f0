//! Which processes a mechanism can see or reach, and how.

use std::fmt;

/// The set of processes that a mechanism can see, or reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Scope {
    /// The process that was started, nothing else.
    Main,
    /// Members of the process group of the main process.
    ProcessGroup,
    /// Members of its session.
    Session,
    /// Descendants, as far as they are handed to the watching process when their parents die
    /// (subreaper).
    ReapedDescendants,
    /// Descendants as seen by walking parent links of live processes: an orphan is lost.
    LinkedDescendants,
    /// Every process that holds an inherited descriptor open.
    FdHolders,
    /// Processes of one dedicated user.
    User,
    /// Members of a PID namespace.
    PidNamespace,
    /// Members of a cgroup and of all its descendants.
    Cgroup,
    /// Members of the cgroup itself; those that moved to a descendant are lost.
    CgroupAlone,
    /// Every process of the machine; the mechanism works out the set from that.
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

/// How a strategy kills the processes that it can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Sweep {
    /// The kernel does it in one go; a fork in progress dies too.
    Atomic,
    /// Members are stopped from forking first, then killed one by one.
    Held,
    /// Members are killed one by one, in repeated passes, until none is seen.
    UntilNone,
    /// One pass over the members.
    Once,
}

/// What a strategy can reach, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reach {
    /// Which processes.
    pub scope: Scope,
    /// How.
    pub sweep: Sweep,
}

/// A kind of process outside the set that a kill may hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bystander {
    /// Has the same user as the members.
    SameUid,
    /// Shares the main process's process group and session.
    SameGroup,
    /// Lives in the parent of the set's cgroup.
    ParentCgroup,
    /// Was given a process id that a member has just freed.
    ReusedPid,
}

impl fmt::Display for Bystander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameUid => "same-uid",
            Self::SameGroup => "same-group",
            Self::ParentCgroup => "parent-cgroup",
            Self::ReusedPid => "reused-pid",
        })
    }
}
