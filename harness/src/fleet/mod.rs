//! One loop that watches many sites: one file per mechanism.
//!
//! A detector watches one site and owns its descriptors; a supervisor of thousands of jobs cannot
//! afford one detector each. Here the same mechanisms watch any number of sites at once. The order
//! is: `watch` each site once, `started` after each start of a job there, `wait`. An event is only
//! a hint to read the state of one site again; "empty" is said only after such a read, once per
//! start.
//!
//! It does not detect that another process removes a watched cgroup: only the owner of the loop
//! removes sites, after their verdict.

mod bpf_notify_populated;
mod cgroup_events_inotify;
mod cgroup_events_mio;
mod cgroup_events_scan;
mod cgroups_rs_scan;
mod pidfd_epoll;
mod play;
mod queue;
mod roster;
mod sleeper_set;
mod subreaper_cgroup_events;

use std::fmt;

use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::{Counters, DetectError, Verdict};
use crate::host::{Host, ProbeError, Support};
use crate::sys::fork::Worker;

pub use play::{FleetSpec, QUIET_PERMILLE, measure, raise_descriptor_limit};
pub use sleeper_set::SleeperSet;

/// The facts about a mechanism.
#[derive(Clone, Copy, Debug)]
pub struct MechanismSpec {
    /// Kebab-case; the file's name with `-` for `_`, or `+` where two work together.
    pub id: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// Descriptors that it holds for each site that is watched (0 or 1), beside a few for the loop.
    pub descriptors_per_site: u32,
    /// What one completion costs as the number of watched sites grows.
    pub cost: &'static str,
    /// Which limit it reaches first.
    pub limit: &'static str,
    /// Man page sections and kernel files.
    pub sources: &'static [&'static str],
}

/// One way to watch many sites.
pub trait Mechanism: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static MechanismSpec;

    /// Whether this machine offers it; if not, why, and how to get it.
    fn probe(&self, host: &Host) -> Result<Support, ProbeError>;

    /// A loop that watches nothing yet, with room for `sites`. Errors: a limit of the machine,
    /// named.
    fn open(&self, sites: usize) -> Result<Box<dyn Fleet>, DetectError>;
}

/// A loop.
pub trait Fleet: fmt::Debug {
    /// Watches one more site; the caller numbers them from 0, without gaps. Errors: a limit of the
    /// machine, named.
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError>;

    /// Says that a job has been started in a watched site, as a child of this process.
    fn started(&mut self, site: usize, job: &Worker) -> Result<(), DetectError>;

    /// Sleeps until at least one started site has a verdict or `deadline` has passed; appends what
    /// was found. A site that got a verdict gets no other until it is started again.
    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError>;

    /// What the waits took so far.
    fn counters(&self) -> Counters;
}

/// A site in which the job is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Its number.
    pub site: usize,
    /// The result: empty, or unknown.
    pub verdict: Verdict,
}

/// All mechanisms, sorted by id.
pub static MECHANISMS: &[&dyn Mechanism] = &[
    &bpf_notify_populated::BpfNotifyPopulated,
    &cgroup_events_inotify::CgroupEventsInotify,
    &cgroup_events_mio::CgroupEventsMio,
    &cgroup_events_scan::CgroupEventsScan,
    &cgroups_rs_scan::CgroupsRsScan,
    &pidfd_epoll::PidfdEpoll,
    &subreaper_cgroup_events::SubreaperCgroupEvents,
];

/// Finds one by its id.
pub fn by_id(id: &str) -> Option<&'static dyn Mechanism> {
    MECHANISMS.iter().copied().find(|m| m.spec().id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sorted_and_each_mechanism_has_its_file() {
        let ids: Vec<&str> = MECHANISMS.iter().map(|m| m.spec().id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for spec in MECHANISMS.iter().map(|m| m.spec()) {
            let file = spec.id.replace(['-', '+'], "_");
            let path = format!("{}/src/fleet/{file}.rs", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&path).exists(), "{path}");
            assert!(
                spec.descriptors_per_site <= 1,
                "{}: the promise to hard limits",
                spec.id
            );
            assert!(!spec.sources.is_empty() && !spec.cost.is_empty() && !spec.limit.is_empty());
            assert_eq!(by_id(spec.id).map(|m| m.spec().id), Some(spec.id));
        }
        assert!(by_id("nonsense").is_none());
    }
}
