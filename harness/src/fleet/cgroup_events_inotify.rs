//! `cgroup.events` of all sites under one inotify instance.

use std::collections::HashMap;
use std::os::fd::AsFd;

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::poll::{PollFd, PollFlags};

use super::roster::{Roster, State};
use super::{Completion, Fleet, Mechanism, MechanismSpec};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::sleep::{self, Slept};
use crate::detect::{Counters, DetectError, limit};
use crate::error::SysError;
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
            inotify: Inotify::init().map_err(|e| limit::inotify_init(limit::errno_of(&e)))?,
            sites: HashMap::new(),
            roster: Roster::default(),
        }))
    }
}

#[derive(Debug)]
struct Watching {
    inotify: Inotify,
    sites: HashMap<WatchDescriptor, usize>,
    roster: Roster,
}

impl Watching {
    /// Takes what is in the queue, and reads the sites that it names; all of them if something was
    /// lost.
    fn take(&mut self, woke: MonoNs, over: &mut Vec<Completion>) -> Result<(), SysError> {
        let mut buffer = [0u8; 16_384];
        let events = match self.inotify.read_events(&mut buffer) {
            Ok(events) => events,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(SysError::plain("read of inotify", limit::errno_of(&e))),
        };
        for event in events {
            if event.mask.contains(EventMask::Q_OVERFLOW) {
                self.roster.counters.overflows += 1;
                self.roster.look_at_all(woke, over);
            } else if let Some(site) = self.sites.get(&event.wd)
                && !self.roster.look(*site, woke, over)
            {
                self.roster.counters.spurious += 1;
            }
        }
        Ok(())
    }
}

impl Fleet for Watching {
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError> {
        let path = cgroup.path().join("cgroup.events");
        let watch = self
            .inotify
            .watches()
            .add(&path, WatchMask::MODIFY)
            .map_err(|e| limit::inotify_watch(&path, limit::errno_of(&e)))?;
        self.sites.insert(watch, site);
        self.roster.add(site, State::path(cgroup))
    }

    fn started(&mut self, site: usize, _: &Worker) -> Result<(), DetectError> {
        self.roster.start(site);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError> {
        let found = over.len();
        self.roster.look_at_fresh(now(), over);
        while over.len() == found {
            let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            let Slept::Woken(woke) = sleep::on(&mut fds, deadline)? else {
                return Ok(());
            };
            self.roster.counters.wakeups += 1;
            self.take(woke, over)?;
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.roster.counters
    }
}
