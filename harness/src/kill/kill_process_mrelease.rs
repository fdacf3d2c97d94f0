//! `kill-process-mrelease`: `cgroup.kill`, then ask the kernel to take the memory of each victim at once, before it gets round to dying.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::cgroup_kill::kill_or_fall_back;
use super::common::levers::Levers;
use super::common::probe;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::cgroup::Census;
use crate::error::SysError;
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::sys::pidfd;
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct KillProcessMrelease;

static SPEC: KillSpec = KillSpec {
    id: "kill-process-mrelease",
    summary: "open a pidfd for every member, write 1 to cgroup.kill, then process_mrelease each",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    since: KernelVersion(5, 15),
    privilege: "",
    faults: "as cgroup-kill; who was born after the list keeps its memory until it dies by itself; at most 512 members are helped",
    sources: &["mm/oom_kill.c: process_mrelease(), 884a7e5964e0 (5.15)"],
    axes: &[],
};

/// How many members are helped: each costs a descriptor.
const HELPED: usize = 512;

impl KillStrategy for KillProcessMrelease {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        let own = pidfd::open(Pid::this()).map_err(|e| SysError::plain("pidfd_open", e))?;
        // The caller is not dying, so the answer is EINVAL where the call exists.
        match pidfd::mrelease(own.as_fd()) {
            Err(Errno::ENOSYS) => Ok(Support::missing("process_mrelease: ENOSYS", "Linux 5.15 or later")),
            Err(errno @ Errno::EPERM) => Ok(Support::missing(
                format_args!("process_mrelease: {errno:?}"),
                "a seccomp policy that allows it",
            )),
            _ => probe::file(host, "cgroup.kill", "Linux 5.14 or later"),
        }
    }

    fn prepare<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        let levers = Levers::of(site)?;
        Ok(Box::new(Ready { site, levers }))
    }
}

#[derive(Debug)]
struct Ready<'t> {
    site: &'t Site,
    levers: Levers<'t>,
}

impl Killer for Ready<'_> {
    fn kill(&mut self, _: &Root, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        let census = Census::deep(&self.site.cgroup)?;
        report.foreign = census.foreign;
        let mut members: Vec<(i32, OwnedFd)> = Vec::new();
        for pid in census.pids.into_iter().take(HELPED) {
            match pidfd::open(Pid::from_raw(pid)) {
                Ok(fd) => members.push((pid, fd)),
                Err(Errno::ESRCH) => report.esrch += 1,
                Err(errno) => report.met(&SysError::pid("pidfd_open", pid, errno)),
            }
        }
        kill_or_fall_back(self.site, &self.levers, deadline, &mut report)?;
        for (pid, fd) in members {
            // A stranger behind a reused number is not dying, and the kernel refuses (EINVAL). EAGAIN: the memory is locked just now.
            match pidfd::mrelease(fd.as_fd()) {
                Ok(()) | Err(Errno::EINVAL | Errno::EAGAIN) => {}
                Err(Errno::ESRCH) => report.esrch += 1,
                Err(errno) => report.met(&SysError::pid("process_mrelease", pid, errno)),
            }
        }
        Ok(report.issued())
    }
}
