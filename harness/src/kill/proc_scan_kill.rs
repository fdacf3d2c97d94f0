//! `proc-scan-kill`: one scan of `/proc`, SIGKILL to every process with the mark: here the cgroup,
//! elsewhere a security label.
//!
//! The old `seunshare -k` killed by its label in this way, until it was dropped as racy.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::common::acting;
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::error::SysError;
use crate::proc::{self, Mounts};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::by_number;
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct ProcScanKill;

static SPEC: KillSpec = KillSpec {
    id: "proc-scan-kill",
    summary: "scan /proc once and SIGKILL by number every process with a /proc/<pid>/cgroup in \
        the set",
    reach: Reach {
        scope: Scope::SystemWide,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[Bystander::ReusedPid],
    effects: Effects::NONE,
    since: KernelVersion(4, 5),
    privilege: "",
    faults: "a process that is born during the scan, behind its position, lives on; a number may \
        have a new owner by the time it is signalled; it reads every process of the machine",
    sources: &[
        "cgroups(7): /proc/<pid>/cgroup",
        "SELinux policycoreutils: seunshare.c, killall()",
    ],
    axes: &[],
};

impl BlockingStrategy for ProcScanKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        proc::membership(nix::unistd::getpid().as_raw())?;
        Ok(Support::Available)
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let top = Mounts::read()?
            .v2_path_of(set.cgroup().path())
            .ok_or_else(|| {
                SysError::path(
                    "find the cgroup2 mount of",
                    set.cgroup().path(),
                    Errno::ENOENT,
                )
            })?;
        Ok(acting(move |_, _, report| kill_all(&top, report)))
    }
}

fn kill_all(top: &Path, report: &mut KillReport) -> Result<(), KillError> {
    report.passes = 1;
    for pid in proc::pids()? {
        match proc::membership(pid) {
            Ok(place) if place.v2().is_some_and(|path| proc::within(path, top)) => {
                by_number(report, pid, Signal::SIGKILL);
            }
            Ok(_) => {}
            Err(e) if proc::vanished(&e) => report.esrch += 1,
            Err(e) => report.met(&e),
        }
    }
    Ok(())
}
