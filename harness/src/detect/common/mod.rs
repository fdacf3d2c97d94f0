//! What several detectors share. A detector itself is one file beside this directory.

pub(super) mod agent;
pub(crate) mod backoff;
pub(super) mod bpf;
pub(super) mod hinted;
pub(crate) mod kernel_path;
pub(super) mod level;
pub(crate) mod limit;
pub(super) mod pool;
pub(crate) mod probe;
pub(super) mod proc_stat;
pub(super) mod released;
pub(super) mod removal;
pub(crate) mod sleep;
pub(super) mod v1_memory;

/// Why everything that sleeps on `cgroup.events` is late.
pub(super) const RATE_LIMIT: &str = "by 10 to 20 ms if another event of the file came less than 10 ms before, as in every job that lives \
                                     less than that (its own start is the other event), and after a freeze; else one wake-up";
