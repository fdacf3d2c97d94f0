//! Reads `cgroup.events` of every running site, at intervals.

use std::time::Duration;

use super::roster::{Roster, State};
use super::{Completion, Fleet, Mechanism, MechanismSpec};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::sleep::{self, Slept};
use crate::detect::{Counters, DetectError};
use crate::host::{Host, ProbeError, Support};
use crate::sys::fork::Worker;
use crate::sys::time::now;

/// The mechanism.
#[derive(Debug)]
pub(super) struct CgroupEventsScan;

static SPEC: MechanismSpec = MechanismSpec {
    id: "cgroup-events-scan",
    summary: "Reads the open cgroup.events of every running site, then rests for 1 ms.",
    descriptors_per_site: 1,
    cost: "one read for each running site, each time",
    limit: "RLIMIT_NOFILE",
    sources: &["cgroups(7)"],
};

/// The pause between two rounds.
const REST: Duration = Duration::from_millis(1);

impl Mechanism for CgroupEventsScan {
    fn spec(&self) -> &'static MechanismSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        crate::detect::probe::events(host)
    }

    fn open(&self, _: usize) -> Result<Box<dyn Fleet>, DetectError> {
        Ok(Box::new(Scanning(Roster::default())))
    }
}

#[derive(Debug)]
struct Scanning(Roster);

impl Fleet for Scanning {
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError> {
        self.0.add(site, State::hold(cgroup)?)
    }

    fn started(&mut self, site: usize, _: &Worker) -> Result<(), DetectError> {
        self.0.start(site);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError> {
        let found = over.len();
        let mut woke = now();
        loop {
            self.0.look_at_all(woke, over);
            if over.len() > found {
                return Ok(());
            }
            let Slept::Woken(at) = sleep::until(now() + REST, deadline) else {
                return Ok(());
            };
            woke = at;
            self.0.counters.wakeups += 1;
        }
    }

    fn counters(&self) -> Counters {
        self.0.counters
    }
}
