//! The facts about one survivor, read once for all checks.

use nix::sys::signal::Signal;

use super::Reason;
use crate::error::SysError;
use crate::proc::{self, Membership, Mounts, Stat, Status};

/// What a check concludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) reason: Reason,
    /// What that is concluded from.
    pub(super) evidence: String,
}

impl Finding {
    pub(super) fn new(reason: Reason, evidence: impl Into<String>) -> Self {
        Self {
            reason,
            evidence: evidence.into(),
        }
    }
}

/// What is known about one survivor.
#[derive(Clone, Debug)]
pub(super) struct Case<'m> {
    pub(super) stat: Stat,
    pub(super) status: Status,
    pub(super) membership: Membership,
    /// Its live threads.
    pub(super) alive: Vec<Stat>,
    pub(super) mounts: &'m Mounts,
}

impl<'m> Case<'m> {
    /// Reads the facts about `pid`. `None`: it is dead, with all its threads.
    pub(super) fn of(pid: i32, mounts: &'m Mounts) -> Result<Option<Self>, SysError> {
        let stat = proc::stat(pid)?;
        let alive: Vec<Stat> = proc::threads(pid)?
            .into_iter()
            .filter(|t| !t.is_zombie())
            .collect();
        if alive.is_empty() {
            return Ok(None);
        }
        // A dead leader's status says nothing about the other threads, which keep the process
        // alive.
        let speaker = if stat.is_zombie() { alive[0].pid } else { pid };
        Ok(Some(Self {
            status: proc::status(speaker)?,
            membership: proc::membership(speaker)?,
            stat,
            alive,
            mounts,
        }))
    }

    /// Whether a SIGKILL has been sent and not been acted on yet.
    pub(super) fn is_killed(&self) -> bool {
        self.status.has_pending(Signal::SIGKILL)
    }

    /// "SIGKILL pending" or the opposite, for evidence.
    pub(super) fn pending(&self) -> &'static str {
        if self.is_killed() {
            "SIGKILL is pending"
        } else {
            "no SIGKILL is pending"
        }
    }

    /// The first live thread in state `letter`.
    pub(super) fn thread_in(&self, letter: char) -> Option<&Stat> {
        self.alive.iter().find(|t| t.state == letter)
    }
}
