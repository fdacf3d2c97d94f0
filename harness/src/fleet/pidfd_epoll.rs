//! The main process of each job by its pidfd, all in one epoll. It sees the end of main processes,
//! not of sites.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::roster::{Roster, State};
use super::{Completion, Fleet, Mechanism, MechanismSpec};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::{Counters, DetectError, Verdict, limit};
use crate::error::SysError;
use crate::host::{Host, ProbeError, Support};
use crate::sys::fork::Worker;
use crate::sys::time::now;

/// The mechanism. Right for jobs whose main process is the last one; early for all others.
#[derive(Debug)]
pub(super) struct PidfdEpoll;

static SPEC: MechanismSpec = MechanismSpec {
    id: "pidfd-epoll",
    summary: "One epoll over the pidfds of the jobs' main processes; processes that they leave \
        behind are not seen.",
    descriptors_per_site: 1,
    cost: "does not depend on the number of jobs",
    limit: "RLIMIT_NOFILE",
    sources: &["pidfd_open(2)", "epoll(7)"],
};

impl Mechanism for PidfdEpoll {
    fn spec(&self) -> &'static MechanismSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        crate::detect::probe::pidfd()
    }

    fn open(&self, _: usize) -> Result<Box<dyn Fleet>, DetectError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|e| limit::descriptor(SysError::plain("epoll_create1", e)))?;
        Ok(Box::new(Looping {
            epoll,
            jobs: HashMap::new(),
            roster: Roster::default(),
        }))
    }
}

#[derive(Debug)]
struct Looping {
    epoll: Epoll,
    jobs: HashMap<usize, OwnedFd>,
    roster: Roster,
}

impl Fleet for Looping {
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError> {
        self.roster.add(site, State::path(cgroup))
    }

    fn started(&mut self, site: usize, job: &Worker) -> Result<(), DetectError> {
        let failed = |op| move |e| limit::descriptor(SysError::pid(op, job.pid.as_raw(), e));
        let pidfd = job
            .pidfd
            .try_clone()
            .map_err(|e| failed("duplicate the pidfd")(limit::errno_of(&e)))?;
        let number = u64::try_from(site).unwrap_or(u64::MAX);
        self.epoll
            .add(&pidfd, EpollEvent::new(EpollFlags::EPOLLIN, number))
            .map_err(failed("epoll_ctl"))?;
        self.jobs.insert(site, pidfd);
        self.roster.start(site);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError> {
        let found = over.len();
        let mut ready = [EpollEvent::empty(); 256];
        while over.len() == found {
            // Rounded up: a wait that returns a little early would spin until the deadline.
            let left = deadline.remaining().as_micros().div_ceil(1_000);
            let timeout = EpollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX));
            let count = match self.epoll.wait(&mut ready, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(e) => return Err(SysError::plain("epoll_wait", e).into()),
            };
            let woke = now();
            if count == 0 && woke >= deadline {
                return Ok(());
            }
            self.roster.counters.wakeups += 1;
            for event in &ready[..count] {
                let site = usize::try_from(event.data()).unwrap_or(usize::MAX);
                if let Some(pidfd) = self.jobs.remove(&site) {
                    // A copy is held elsewhere, so closing this one would not take it off the list.
                    self.epoll
                        .delete(pidfd.as_fd())
                        .map_err(|e| SysError::plain("epoll_ctl", e))?;
                    self.roster.finish(site, Verdict::empty(woke), over);
                }
            }
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.roster.counters
    }
}
