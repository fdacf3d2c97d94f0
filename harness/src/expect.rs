//! The expectations of scenarios, stated without knowing which mechanism watches or kills.
//!
//! A scenario answers for a *scope* (what a mechanism can see or reach), never for a mechanism by
//! name. A new detector gets its row of expectations by declaring its scope.

pub use allgone::scope::{Reach, Scope, Sweep};

pub use crate::record::{Canary, Plane};

/// What a detector of some scope is expected to say about a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Says "empty", and only when it is true.
    Sound,
    /// Says "empty" while a process is alive, in every trial. The reason names what it cannot see.
    Early(&'static str),
    /// May say "empty" while a process is alive: it is a race.
    MayBeEarly(&'static str),
    /// Does not say "empty" before the deadline.
    NeverFires(&'static str),
    /// Says that the site was removed, or that it does not know. "Empty" or no verdict would be
    /// wrong.
    Removed(&'static str),
    /// May sleep on although all is over (a lost wake-up). Either outcome is accepted and recorded.
    MayBeLost(&'static str),
    /// As `Sound`, of a program that may run for longer than the deadline: then it says nothing.
    SoundIfItEnds,
    /// Nothing: what it sees of the workload depends on what that is. Any outcome is recorded.
    Open(&'static str),
    /// The pair makes no sense and is not run.
    NotApplicable(&'static str),
}

impl Expectation {
    /// A name for programs, which stays: it stands in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Early(_) => "early",
            Self::MayBeEarly(_) => "may-be-early",
            Self::NeverFires(_) => "never-fires",
            Self::Removed(_) => "removed",
            Self::MayBeLost(_) => "may-be-lost",
            Self::SoundIfItEnds => "sound-if-it-ends",
            Self::Open(_) => "none",
            Self::NotApplicable(_) => "not-applicable",
        }
    }
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

impl KillExpectation {
    /// As [`Expectation::name`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Empties => "empties",
            Self::MaySurvive(_) => "may-survive",
            Self::Survives(_) => "survives",
            Self::NotApplicable(_) => "not-applicable",
        }
    }
}
