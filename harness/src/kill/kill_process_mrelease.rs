//! `kill-process-mrelease`: `cgroup.kill`, then ask the kernel to free the memory of each victim at
//! once, before it exits.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::common::probe;
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::cgroup::Census;
use crate::error::SysError;
use crate::expect::{Reach, Scope, Sweep};
use crate::sys::pidfd;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::cgroup_kill::KillOrSweep;
use allgone::kill::drive;
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct KillProcessMrelease;

static SPEC: KillSpec = KillSpec {
    id: "kill-process-mrelease",
    summary: "open a pidfd for every member, write 1 to cgroup.kill, then process_mrelease each",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 15),
    privilege: "",
    faults: "as cgroup-kill; a process that was born after the list was read keeps its memory \
        until it exits; at most 512 members are helped",
    sources: &["mm/oom_kill.c: process_mrelease(), 884a7e5964e0 (5.15)"],
    axes: &[],
};

/// How many members are helped: each costs a descriptor.
const HELPED: usize = 512;

impl BlockingStrategy for KillProcessMrelease {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        let own = pidfd::open(Pid::this()).map_err(|e| SysError::plain("pidfd_open", e))?;
        // The caller is not dying, so the answer is EINVAL where the call exists.
        match pidfd::mrelease(own.as_fd()) {
            Err(Errno::ENOSYS) => Ok(Support::missing(
                "process_mrelease: ENOSYS",
                "Linux 5.15 or later",
            )),
            Err(errno @ Errno::EPERM) => Ok(Support::missing(
                format_args!("process_mrelease: {errno:?}"),
                "a seccomp policy that allows it",
            )),
            _ => probe::file(host, "cgroup.kill", "Linux 5.14 or later"),
        }
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let write = KillOrSweep::prepare(set)?;
        Ok(Box::new(Ready {
            set: set.clone(),
            write,
        }))
    }
}

#[derive(Debug)]
struct Ready {
    set: ProcessSet,
    write: KillOrSweep,
}

impl BlockingKiller for Ready {
    fn kill(&mut self, _: &Child, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        let census = Census::deep(self.set.cgroup())?;
        report.foreign = census.foreign;
        let mut members: Vec<(i32, OwnedFd)> = Vec::new();
        for pid in census.pids.into_iter().take(HELPED) {
            match pidfd::open(Pid::from_raw(pid)) {
                Ok(fd) => members.push((pid, fd)),
                Err(Errno::ESRCH) => report.esrch += 1,
                Err(errno) => report.met(&SysError::pid("pidfd_open", pid, errno)),
            }
        }
        drive(&mut self.write, deadline, &mut report)?;
        for (pid, fd) in members {
            // A process that got a reused pid is not dying, and the kernel refuses (EINVAL).
            // EAGAIN: the memory is locked just now.
            match pidfd::mrelease(fd.as_fd()) {
                Ok(()) | Err(Errno::EINVAL | Errno::EAGAIN) => {}
                Err(Errno::ESRCH) => report.esrch += 1,
                Err(errno) => report.met(&SysError::pid("process_mrelease", pid, errno)),
            }
        }
        Ok(report.issued())
    }
}
