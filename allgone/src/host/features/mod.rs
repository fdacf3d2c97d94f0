//! Named features of a machine that mechanisms of this library need, each really tried.

mod cgroup;
mod process;

use super::{Host, ProbeError, Support};

/// A feature that can be tried for.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Kebab-case.
    pub name: &'static str,
    /// What having it means, one sentence.
    pub summary: &'static str,
    /// Tries.
    pub run: fn(&Host) -> Result<Support, ProbeError>,
}

impl Feature {
    /// Tries, cheaply, and undoes everything.
    pub fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        (self.run)(host)
    }
}

macro_rules! features {
    ($($name:literal $probe:path, $summary:literal;)*) => {
        /// All features, sorted by name.
        pub static FEATURES: &[Feature] = &[$(Feature { name: $name, summary: $summary,
            run: $probe }),*];
    };
}

features! {
    "cgroup-kill" cgroup::kill, "a write to cgroup.kill ends a process";
    "cgroup2-write" cgroup::write, "a child of the base cgroup can be made and removed";
    "clone-into-cgroup" cgroup::clone_into, "clone3 lets a process be born in a cgroup";
    "freezer" cgroup::freezer, "a write to cgroup.freeze stops a process, and cgroup.events says \
        when";
    "memory-limit" cgroup::memory_limit, "a memory limit can be had for children of the base";
    "pidfd" process::pidfd, "pidfd_open names a process";
    "pidfd-info" process::pidfd_info, "PIDFD_GET_INFO identifies the process behind a pidfd";
    "pids-limit" cgroup::pids_limit, "a limit on tasks can be had for children of the base";
    "v1-freezer" cgroup::v1_freezer, "an own cgroup of the v1 freezer hierarchy can be made and \
        frozen";
    "v1-memory" cgroup::v1_memory, "an own cgroup of the v1 memory hierarchy can be made and \
        limited";
    "v1-pids" cgroup::v1_pids, "an own cgroup of the v1 pids hierarchy can be made and limited";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(FEATURES.is_sorted_by(|a, b| a.name < b.name));
    }
}
