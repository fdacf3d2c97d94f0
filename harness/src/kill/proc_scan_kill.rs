//! `proc-scan-kill`: one scan of `/proc`, SIGKILL to whoever carries the mark: here the cgroup, elsewhere a security label.
//!
//! The old `seunshare -k` killed by its label in this way, until it was dropped as racy.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::common::signal::by_number;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::{Canary, Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::proc::{self, Mounts};
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct ProcScanKill;

static SPEC: KillSpec = KillSpec {
    id: "proc-scan-kill",
    summary: "scan /proc once and SIGKILL by number everyone whose /proc/<pid>/cgroup is in the set",
    reach: Reach {
        scope: Scope::SystemWide,
        sweep: Sweep::Once,
    },
    claims_sound: false,
    may_hit: &[Canary::ReusedPid],
    since: KernelVersion(4, 5),
    privilege: "",
    faults: "whoever is born during the scan behind its back lives on; a number may have a new owner by the time it is signalled; it looks at every \
             process of the machine",
    sources: &[
        "cgroups(7): /proc/<pid>/cgroup",
        "SELinux policycoreutils: seunshare.c, killall()",
    ],
    axes: &[],
};

impl KillStrategy for ProcScanKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        proc::membership(nix::unistd::getpid().as_raw())?;
        Ok(Support::Available)
    }

    fn prepare<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        let top = Mounts::read()?
            .v2_path_of(site.cgroup.path())
            .ok_or_else(|| SysError::path("find the cgroup2 mount of", site.cgroup.path(), Errno::ENOENT))?;
        Ok(Box::new(Ready { top }))
    }
}

#[derive(Debug)]
struct Ready {
    top: PathBuf,
}

impl Killer for Ready {
    fn kill(&mut self, _: &Root, _: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        report.passes = 1;
        for pid in proc::pids()? {
            match proc::membership(pid) {
                Ok(place) if place.v2().is_some_and(|path| proc::within(path, &self.top)) => {
                    by_number(&mut report, pid, Signal::SIGKILL);
                }
                Ok(_) => {}
                Err(e) if proc::vanished(&e) => report.esrch += 1,
                Err(e) => report.met(&e),
            }
        }
        Ok(report.issued())
    }
}
