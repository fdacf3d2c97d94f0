//! Many sites below one cgroup, with a process in some or all of them that sleeps until it is told
//! to end.
//!
//! It holds no descriptor for a site, so that the descriptors of a process are the mechanism's
//! alone.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::detect::DetectError;
use crate::error::SysError;
use crate::sys::board::Board;
use crate::sys::fork::{self, Worker};
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid};

/// The sites. The process that makes it must have one thread; its sleepers are its children.
#[derive(Debug)]
pub struct SleeperSet {
    parent: Cgroup,
    board: Board,
    jobs: Vec<Option<(Pid, MonoNs)>>,
}

impl SleeperSet {
    /// Makes `sites` cgroups below `parent`. What was made before an error stays there.
    pub fn build(parent: Cgroup, sites: usize) -> Result<Self, DetectError> {
        let board =
            Board::create(sites).map_err(|e| SysError::plain("map a page for the sites", e))?;
        for number in 0..sites {
            // Made and closed again.
            parent.create(&name(number))?;
        }
        Ok(Self {
            parent,
            board,
            jobs: vec![None; sites],
        })
    }

    /// Opens a site.
    pub fn site(&self, number: usize) -> Result<Cgroup, CgroupError> {
        self.parent.child(&name(number))
    }

    /// Starts a sleeper in a site. Errors: `EAGAIN` a limit on tasks or processes; as clone3(2).
    pub fn start(&mut self, number: usize) -> Result<Worker, DetectError> {
        let site = self.site(number)?;
        self.board.clear(number);
        let board = &self.board;
        let worker = fork::worker(0, Some(site.as_fd()), || {
            board.sleep(number);
            0
        })
        .map_err(|e| SysError::path("start a process in", site.path(), e))?;
        if let Some(job) = self.jobs.get_mut(number) {
            *job = Some((worker.pid, now()));
        }
        Ok(worker)
    }

    /// Since when a site has its process, if it has one.
    pub fn since(&self, number: usize) -> Option<MonoNs> {
        self.jobs
            .get(number)
            .copied()
            .flatten()
            .map(|(_, since)| since)
    }

    /// Tells the process of a site to end.
    pub fn end(&self, number: usize) {
        self.board.end(number);
    }

    /// When the process of a site stamped its exit, if it has.
    pub fn exit(&self, number: usize) -> Option<MonoNs> {
        self.board.exit(number)
    }

    /// Reaps the process of a site, which was told to end. A mechanism may have done so already.
    pub fn reap(&mut self, number: usize) -> Result<(), SysError> {
        let Some((pid, _)) = self.jobs.get_mut(number).and_then(Option::take) else {
            return Ok(());
        };
        match crate::error::retry_eintr(|| waitid(Whose::Pid(pid), WaitPidFlag::WEXITED)) {
            Ok(_) | Err(Errno::ECHILD) => Ok(()),
            Err(e) => Err(SysError::pid("reap", pid.as_raw(), e)),
        }
    }

    /// Ends and reaps all processes and removes all sites. Since Linux 6.19 a site can be busy for
    /// a moment after: that is waited for.
    pub fn take_down(mut self) -> Result<(), DetectError> {
        for number in 0..self.jobs.len() {
            self.board.end(number);
        }
        for number in 0..self.jobs.len() {
            self.reap(number)?;
        }
        for number in 0..self.jobs.len() {
            allgone::cgroup::remove_when_empty(self.site(number)?)?;
        }
        Ok(())
    }
}

fn name(number: usize) -> String {
    format!("site-{number}")
}
