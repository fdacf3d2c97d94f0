//! `cgroup.events` of all sites under one inotify instance.

use nix::poll::{PollFd, PollFlags};

use super::queue::Queue;
use super::roster::Roster;
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
pub(super) struct CgroupEventsInotify;

static SPEC: MechanismSpec = MechanismSpec {
    id: "cgroup-events-inotify",
    summary: "One inotify instance with a watch (IN_MODIFY) for each site; opens and reads the \
        cgroup.events that the event names.",
    descriptors_per_site: 0,
    cost: "does not depend on the number of sites; an overflow of the queue costs a read of each \
        of them",
    limit: "fs.inotify.max_user_watches (and max_user_instances, of which one is used)",
    sources: &["inotify(7)", "fs/kernfs/file.c: kernfs_notify_workfn()"],
};

impl Mechanism for CgroupEventsInotify {
    fn spec(&self) -> &'static MechanismSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        crate::detect::probe::events(host)
    }

    fn open(&self, _: usize) -> Result<Box<dyn Fleet>, DetectError> {
        Ok(Box::new(Watching {
            queue: Queue::new()?,
            roster: Roster::default(),
        }))
    }
}

#[derive(Debug)]
struct Watching {
    queue: Queue,
    roster: Roster,
}

impl Fleet for Watching {
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError> {
        self.queue.watch(site, cgroup, &mut self.roster)
    }

    fn started(&mut self, site: usize, _: &Worker) -> Result<(), DetectError> {
        self.roster.start(site);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError> {
        let found = over.len();
        self.roster.look_at_fresh(now(), over);
        while over.len() == found {
            let mut fds = [PollFd::new(self.queue.fd(), PollFlags::POLLIN)];
            let Slept::Woken(woke) = sleep::on(&mut fds, deadline)? else {
                return Ok(());
            };
            self.roster.counters.wakeups += 1;
            self.queue.take(&mut self.roster, woke, over)?;
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.roster.counters
    }
}
