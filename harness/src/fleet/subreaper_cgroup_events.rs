//! Children that end wake the supervisor, and only the site of the one that ended is read;
//! `cgroup.events` reports processes that are not children.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use super::queue::Queue;
use super::roster::Roster;
use super::{Completion, Fleet, Mechanism, MechanismSpec};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::Backoff;
use crate::detect::sleep::{self, Slept};
use crate::detect::{Counters, DetectError, kernel_path, limit};
use crate::error::SysError;
use crate::host::{Host, ProbeError, Support};
use crate::proc;
use crate::sys::fork::Worker;
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid};

/// The mechanism. It makes the process that opens it a subreaper, blocks `SIGCHLD` there, and reaps
/// all its children.
#[derive(Debug)]
pub(super) struct SubreaperCgroupEvents;

static SPEC: MechanismSpec = MechanismSpec {
    id: "subreaper+cgroup-events",
    summary: "A subreaper woken by SIGCHLD reads the site that the child was in; one inotify \
        instance reports what is not a child.",
    descriptors_per_site: 0,
    cost: "does not depend on the number of sites; an overflow of the queue costs a read of each \
        of them",
    limit: "fs.inotify.max_user_watches (and max_user_instances, of which one is used)",
    sources: &[
        "PR_SET_CHILD_SUBREAPER(2const)",
        "signalfd(2)",
        "waitid(2): WNOWAIT",
        "cgroups(7): /proc/pid/cgroup of a zombie",
    ],
};

impl Mechanism for SubreaperCgroupEvents {
    fn spec(&self) -> &'static MechanismSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        crate::detect::probe::events(host)
    }

    fn open(&self, _: usize) -> Result<Box<dyn Fleet>, DetectError> {
        prctl::set_child_subreaper(true)
            .map_err(|e| SysError::plain("prctl(PR_SET_CHILD_SUBREAPER)", e))?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()
            .map_err(|e| SysError::plain("block SIGCHLD", e))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Box::new(Supervising {
            signals: SignalFd::with_flags(&mask, flags)
                .map_err(|e| limit::descriptor(SysError::plain("signalfd", e)))?,
            queue: Queue::new()?,
            paths: HashMap::new(),
            jobs: HashMap::new(),
            pending: Vec::new(),
            backoff: Backoff::default(),
            roster: Roster::default(),
        }))
    }
}

#[derive(Debug)]
struct Supervising {
    signals: SignalFd,
    queue: Queue,
    paths: HashMap<PathBuf, usize>,
    jobs: HashMap<Pid, usize>,
    /// A process of theirs has ended, and they were still populated: to be looked at again.
    pending: Vec<usize>,
    backoff: Backoff,
    roster: Roster,
}

impl Supervising {
    /// Where a child that has not been reaped is, or was: it was started there, or its cgroup says
    /// so.
    fn site_of(&mut self, child: Pid) -> Option<usize> {
        if let Some(site) = self.jobs.remove(&child) {
            return Some(site);
        }
        let membership = proc::membership(child.as_raw()).ok()?;
        self.paths
            .get(std::path::Path::new(membership.v2()?))
            .copied()
    }

    /// Takes the signal and every zombie, and notes which sites are to be read. True if there was
    /// one.
    fn reap(&mut self) -> Result<bool, SysError> {
        while self
            .signals
            .read_signal()
            .map_err(|e| SysError::plain("read of signalfd", e))?
            .is_some()
        {}
        let mut any = false;
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        loop {
            let child = match waitid(Whose::Any, flags | WaitPidFlag::WNOWAIT) {
                Ok(Some(change)) => change.pid,
                Ok(None) | Err(Errno::ECHILD) => return Ok(any),
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(SysError::plain("waitid", e)),
            };
            any = true;
            match self.site_of(child) {
                Some(site) => self.pending.push(site),
                // Its site is not known, so all sites are read.
                None => self.pending.extend(0..self.roster.len()),
            }
            waitid(Whose::Pid(child), flags)
                .map_err(|e| SysError::pid("reap", child.as_raw(), e))?;
            self.roster.counters.reaped += 1;
        }
    }
}

impl Fleet for Supervising {
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError> {
        self.queue.watch(site, cgroup, &mut self.roster)?;
        self.paths.insert(kernel_path::of(cgroup.path())?, site);
        Ok(())
    }

    fn started(&mut self, site: usize, job: &Worker) -> Result<(), DetectError> {
        self.jobs.insert(job.pid, site);
        self.roster.start(site);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError> {
        let found = over.len();
        let mut woke = now();
        self.roster.look_at_fresh(woke, over);
        loop {
            if self.reap()? {
                self.backoff.hint(woke);
            }
            let roster = &mut self.roster;
            self.pending
                .retain(|site| roster.is_running(*site) && !roster.look(*site, woke, over));
            if over.len() > found {
                return Ok(());
            }
            self.backoff.looked(now());
            let mut fds = [
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.queue.fd(), PollFlags::POLLIN),
            ];
            let until = self.backoff.until(deadline);
            match sleep::on(&mut fds, until)? {
                Slept::Woken(at) => woke = at,
                Slept::Deadline if deadline.has_passed() => return Ok(()),
                Slept::Deadline => woke = now(),
            }
            // No re-reads left: for what is still alive there, cgroup.events is waited for.
            if until == deadline {
                self.pending.clear();
            }
            let changed = fds[1].any() == Some(true);
            self.roster.counters.wakeups += 1;
            if changed {
                self.queue.take(&mut self.roster, woke, over)?;
            }
        }
    }

    fn counters(&self) -> Counters {
        self.roster.counters
    }
}
