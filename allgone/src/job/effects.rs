//! What running jobs means for the process that runs them.

use crate::effects::{Effects, Reaps};

/// What a host has to know about its jobs. It is stated, and checked in the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEffects {
    /// What changes in the host. `holds` is per job, between spawn and completion, without the
    /// streams that the host asked for.
    pub host: Effects,
    /// Whether the host gets a `SIGCHLD` for each job, and a `waitpid(-1)` of the host could reap
    /// its first process.
    pub sigchld: bool,
    /// What happens to processes that have lost their parent.
    pub orphans: Orphans,
    /// Whether jobs are killed and removed if the host ends without having done so, in whatever
    /// way. Otherwise they live on, and their cgroups stay. Where one thing may end host and guard
    /// together is on the page of [`sys::guard`](crate::sys::guard).
    pub ends_with_host: bool,
}

/// What happens to processes of a job that have lost their parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// They are children of the host's init (or of a subreaper above the host), and are reaped
    /// whenever that does so; a dead process is not a member of its job. If one is the last of its
    /// job, its end is reported by `cgroup.events`, which the kernel delays by 10 to 20 ms after
    /// another event.
    OfInit,
    /// They are reaped at once by the process that has started the job, which then notifies the
    /// host.
    OfStarter,
}

/// A directory, `cgroup.events`, a descriptor of the first process, the job's own descriptor; and a
/// timer, which is made when the first process has ended and others live on, or for a kill.
const DESCRIPTORS: u8 = 5;

impl JobEffects {
    /// First processes are children of the host.
    pub const OF_OWN_CHILDREN: Self = Self {
        host: Effects {
            reaps: Reaps::Main,
            ..Effects::descriptors(DESCRIPTORS)
        },
        sigchld: true,
        orphans: Orphans::OfInit,
        ends_with_host: false,
    };
}
