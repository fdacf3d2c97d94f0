//! The name of a run, which identifies its owner: `scenario-<pid>-<start>-<pidns>`.

use std::fmt;

use crate::error::SysError;

pub use allgone::base::name::{Owner, OwnerId, foreign_proc, own_pidns};

/// The prefix of the name of every cgroup of a run.
pub const PREFIX: &str = "scenario-";

/// Whose run it is, as its name says: the harness that is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunName(pub OwnerId);

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl RunName {
    /// This process's. Errors: `/proc` is not mounted or not readable.
    pub fn own() -> Result<Self, SysError> {
        OwnerId::own().map(Self)
    }

    /// That of another process of this PID namespace. Errors: as [`RunName::own`]; there is no such
    /// process.
    pub fn of(pid: nix::unistd::Pid) -> Result<Self, SysError> {
        OwnerId::of(pid).map(Self)
    }

    /// Reads a name. What follows a dot is a suffix of the same run (`scenario-1-2-3.probe`).
    pub fn parse(name: &str) -> Option<Self> {
        OwnerId::parse(name, PREFIX).map(Self)
    }

    /// Whether the owner is alive.
    pub fn owner(&self) -> Owner {
        self.0.owner()
    }
}

/// The name of a run of this process.
pub fn run_name() -> Result<String, SysError> {
    Ok(RunName::own()?.to_string())
}

/// A new name for something that is made to try whether it can be made: it belongs to the run of
/// this process.
pub(crate) fn probe_name() -> Result<String, SysError> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{}.probe{number}", run_name()?))
}

/// Whether the run that `name` belongs to may still be going on: false only if its owner is known
/// to be gone.
pub fn is_alive(name: &str) -> bool {
    RunName::parse(name).is_none_or(|run| run.owner() != Owner::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_gone_when_its_owner_is_known_to_be() {
        assert!(is_alive(&run_name().unwrap()));
        let never = OwnerId {
            pid: i32::MAX,
            ..OwnerId::own().unwrap()
        };
        assert!(!is_alive(&format!("{}.probe", RunName(never))));
        for name in ["scenario-", "scenario-1-2", "other"] {
            assert!(is_alive(name), "{name}");
        }
    }
}
