//! What a strategy did instead of what its name says.

use std::fmt;

use nix::errno::Errno;

use crate::error::SysError;

/// What a strategy did instead of what its name says, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// `cgroup.kill` was refused, so the cgroup was frozen and its members were signalled one by
    /// one.
    FrozeAndSignalled(SysError),
    /// `cgroup.freeze` was refused, so the members were killed in a loop without freezing.
    DidNotFreeze(SysError),
    /// `cgroup.events` did not say `frozen 1` in time, so the kill went on without.
    DidNotWaitForFrozen,
    /// `pidfd_open(2)` was refused, so members were signalled by number, unprotected against reuse
    /// of pids.
    SignalledByNumber(Errno),
    /// What a strategy outside this crate did.
    Own {
        /// A stable name in kebab-case; the same as of another fallback if it did the same.
        name: &'static str,
        /// What it did and why, in words.
        what: &'static str,
    },
}

impl Fallback {
    /// Its stable name, in kebab-case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FrozeAndSignalled(_) => "froze-and-signalled",
            Self::DidNotFreeze(_) => "did-not-freeze",
            Self::DidNotWaitForFrozen => "did-not-wait-for-frozen",
            Self::SignalledByNumber(_) => "signalled-by-number",
            Self::Own { name, .. } => name,
        }
    }

    /// The kernel's answer, if that is why.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::FrozeAndSignalled(refusal) | Self::DidNotFreeze(refusal) => Some(refusal.errno),
            Self::SignalledByNumber(errno) => Some(*errno),
            Self::DidNotWaitForFrozen | Self::Own { .. } => None,
        }
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrozeAndSignalled(refusal) => {
                let why = match refusal.errno {
                    Errno::ENOENT => "this kernel has no cgroup.kill (Linux 5.14)",
                    Errno::EOPNOTSUPP => "the cgroup is threaded",
                    _ => "no permission",
                };
                write!(f, "{refusal} ({why}): froze and signalled one by one")
            }
            Self::DidNotFreeze(refusal) => {
                write!(f, "{refusal}: killed in a loop without freezing")
            }
            Self::DidNotWaitForFrozen => {
                f.write_str("cgroup.events did not say `frozen 1` in time: went on without")
            }
            Self::SignalledByNumber(errno) => write!(
                f,
                "pidfd_open: {errno:?}: signalled by number, unprotected against pid reuse"
            ),
            Self::Own { what, .. } => f.write_str(what),
        }
    }
}
