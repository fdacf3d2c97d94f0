//! Kernel bugs that change what may be done here, found by trying and not by version.

use super::candidate::{Refusal, in_child};
use super::subject::Subject;
use crate::cgroup::Cgroup;
use crate::sys::spawn::Entry;

/// A bug that can be tried for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelBug {
    /// Kebab-case.
    pub id: &'static str,
    /// What goes wrong, and what follows.
    pub summary: &'static str,
    /// Where it is described and fixed.
    pub source: &'static str,
}

/// What a try showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It happens here.
    Present,
    /// It does not.
    Absent,
    /// It cannot happen, because the kernel or a seccomp policy lacks what it needs.
    NotApplicable(&'static str),
}

/// A process that is born by `clone3(CLONE_INTO_CGROUP)` in a cgroup that was written to `cgroup.kill` before is killed at birth.
///
/// The kernel compares the counter of kills of the destination with that of the *source* cgroup (`cgroup_css_set_fork()` in
/// kernel/cgroup/cgroup.c, since b69bb476dee9, v6.14 and backports). So a killed cgroup must not be used again.
pub const KILLED_AT_BIRTH: KernelBug = KernelBug {
    id: "killed-at-birth",
    summary: "clone3 into a cgroup that was killed earlier gives a child that is killed at once: never use a killed cgroup again",
    source: "introduced by b69bb476dee9 (v6.14), fixed by 8e3599202166",
};

/// Tries for [`KILLED_AT_BIRTH`] in a new child of `base`, which is removed again.
pub fn killed_at_birth(base: &Cgroup) -> Result<Presence, Refusal> {
    in_child(base, |child| {
        // The counters of source and destination must differ. If own cgroup was killed once, one kill makes them equal and two do not.
        for _ in 0..2 {
            match child.kill() {
                Err(e) if e.errno() == Some(nix::errno::Errno::ENOENT) => {
                    return Ok(Presence::NotApplicable("there is no cgroup.kill (before Linux 5.14)"));
                }
                other => other?,
            }
            let fate = Subject::start(Some(child), 0, false)?.end()?;
            if fate.entry != Entry::Born {
                return Ok(Presence::NotApplicable("clone3(CLONE_INTO_CGROUP) is refused here"));
            }
            if fate.killed {
                return Ok(Presence::Present);
            }
        }
        Ok(Presence::Absent)
    })
}
