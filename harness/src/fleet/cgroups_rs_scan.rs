//! What the crate `cgroups-rs` offers for this: a list of the members, read site by site.

use std::time::Duration;

use cgroups_rs::fs::Cgroup as OffTheShelf;
use cgroups_rs::fs::cgroup::UNIFIED_MOUNTPOINT;
use cgroups_rs::fs::hierarchies::V2;
use nix::errno::Errno;

use super::roster::{Roster, State};
use super::{Completion, Fleet, Mechanism, MechanismSpec};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::sleep::{self, Slept};
use crate::detect::{Counters, DetectError, probe};
use crate::error::SysError;
use crate::host::{Host, ProbeError, Support};
use crate::sys::fork::Worker;
use crate::sys::time::now;

/// The mechanism. The crate answers an unreadable list with an empty one, so an empty list is only
/// a hint, and `populated` decides.
#[derive(Debug)]
pub(super) struct CgroupsRsScan;

static SPEC: MechanismSpec = MechanismSpec {
    id: "cgroups-rs-scan",
    summary: "Cgroup::procs of the crate cgroups-rs for every site, then a pause of 1 ms; \
        populated is read where the list is empty.",
    descriptors_per_site: 0,
    cost: "one list of members for each site, each time",
    limit: "none but patience",
    sources: &[
        "cgroups-rs 0.5: src/fs/cgroup.rs, Cgroup::procs(); it has no notification but for memory \
            events of v1",
    ],
};

/// The pause between two rounds.
const REST: Duration = Duration::from_millis(1);

impl Mechanism for CgroupsRsScan {
    fn spec(&self) -> &'static MechanismSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |cgroup| {
            Ok(match cgroup.path().starts_with(UNIFIED_MOUNTPOINT) {
                true => Support::Available,
                false => Support::missing(
                    format_args!(
                        "{} is not below {UNIFIED_MOUNTPOINT}",
                        cgroup.path().display()
                    ),
                    "a cgroup below /sys/fs/cgroup",
                ),
            })
        })
    }

    fn open(&self, _: usize) -> Result<Box<dyn Fleet>, DetectError> {
        Ok(Box::new(Scanning {
            sites: Vec::new(),
            roster: Roster::default(),
        }))
    }
}

#[derive(Debug)]
struct Scanning {
    sites: Vec<OffTheShelf>,
    roster: Roster,
}

impl Fleet for Scanning {
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError> {
        let relative = cgroup
            .path()
            .strip_prefix(UNIFIED_MOUNTPOINT)
            .map_err(|_| {
                SysError::path("find below /sys/fs/cgroup", cgroup.path(), Errno::EXDEV)
            })?;
        // As its users call it: nothing is created or enabled by `load`.
        self.sites
            .push(OffTheShelf::load(Box::new(V2::new()), relative));
        self.roster.add(site, State::path(cgroup))
    }

    fn started(&mut self, site: usize, _: &Worker) -> Result<(), DetectError> {
        self.roster.start(site);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError> {
        let found = over.len();
        let mut woke = now();
        loop {
            for (site, cgroup) in self.sites.iter().enumerate() {
                if cgroup.procs().is_empty() {
                    self.roster.look(site, woke, over);
                }
            }
            if over.len() > found {
                return Ok(());
            }
            let Slept::Woken(at) = sleep::until(now() + REST, deadline) else {
                return Ok(());
            };
            woke = at;
            self.roster.counters.wakeups += 1;
        }
    }

    fn counters(&self) -> Counters {
        self.roster.counters
    }
}
