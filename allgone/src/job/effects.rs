//! What running jobs means for the process that runs them.

use crate::effects::{Effects, Reaps};

/// What a host has to know of its jobs. Stated, and counted in the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEffects {
    /// What changes in the host. `holds` is per job, between spawn and completion, without the
    /// streams that the host asked for.
    pub host: Effects,
    /// Whether the host gets a `SIGCHLD` for each job, and a `waitpid(-1)` of the host could reap
    /// its first process.
    pub sigchld: bool,
    /// What becomes of processes whose parent has ended.
    pub orphans: Orphans,
    /// Whether jobs are killed and removed if the host ends without having done it, by whatever
    /// death. Without, they live on, and their cgroups stay.
    pub ends_with_host: bool,
}

/// What becomes of processes of a job whose parent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// They are children of the host's init (or of a subreaper above the host), and are reaped when
    /// that gets around to it; a dead one is no member of its job. If one is the last of its job,
    /// its end is told by `cgroup.events`, which the kernel holds back for 10 to 20 ms after
    /// another event.
    OfInit,
    /// They are reaped at once by the process that has started the job, which then tells the host.
    OfStarter,
}

/// A directory, a descriptor of the first process, the job's own descriptor; and what is opened
/// when the first process has ended and others live on: `cgroup.events` and a timer.
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
