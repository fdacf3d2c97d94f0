//! `cgroup.events` of all sites in one epoll, through mio.

use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::roster::{Roster, State};
use super::{Completion, Fleet, Mechanism, MechanismSpec};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::{Counters, DetectError, limit};
use crate::error::SysError;
use crate::host::{Host, ProbeError, Support};
use crate::sys::fork::Worker;
use crate::sys::time::now;

/// The mechanism.
#[derive(Debug)]
pub(super) struct CgroupEventsMio;

static SPEC: MechanismSpec = MechanismSpec {
    id: "cgroup-events-mio",
    summary: "One epoll (mio, edge-triggered) over an open cgroup.events for each site; reads the \
        site that the event names.",
    descriptors_per_site: 1,
    cost: "does not depend on the number of sites",
    limit: "RLIMIT_NOFILE",
    sources: &["epoll(7)", "fs/kernfs/file.c: kernfs_generic_poll()"],
};

impl Mechanism for CgroupEventsMio {
    fn spec(&self) -> &'static MechanismSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        crate::detect::probe::events(host)
    }

    fn open(&self, _: usize) -> Result<Box<dyn Fleet>, DetectError> {
        Ok(Box::new(Looping {
            poll: Poll::new().map_err(fail("epoll_create1"))?,
            ready: Events::with_capacity(256),
            roster: Roster::default(),
        }))
    }
}

fn fail(op: &'static str) -> impl Fn(std::io::Error) -> DetectError {
    move |e| limit::descriptor(SysError::plain(op, limit::errno_of(&e)))
}

#[derive(Debug)]
struct Looping {
    poll: Poll,
    ready: Events,
    roster: Roster,
}

impl Fleet for Looping {
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError> {
        let file = cgroup.events_file().map_err(limit::descriptor)?;
        let number = file.as_fd().as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&number), Token(site), Interest::PRIORITY)
            .map_err(fail("epoll_ctl"))?;
        self.roster.add(site, State::Held(file))
    }

    fn started(&mut self, site: usize, _: &Worker) -> Result<(), DetectError> {
        self.roster.start(site);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError> {
        let found = over.len();
        self.roster.look_at_fresh(now(), over);
        while over.len() == found {
            match self.poll.poll(&mut self.ready, Some(deadline.remaining())) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(SysError::plain("epoll_wait", limit::errno_of(&e)).into()),
            }
            let woke = now();
            if self.ready.is_empty() && woke >= deadline {
                return Ok(());
            }
            self.roster.counters.wakeups += 1;
            for event in &self.ready {
                if !self.roster.look(event.token().0, woke, over) {
                    self.roster.counters.spurious += 1;
                }
            }
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.roster.counters
    }
}
