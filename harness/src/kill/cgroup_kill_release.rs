//! `cgroup-kill-release`: close an open `cgroup.kill` that was armed, by writing `release`, before the workload was started. A draft series
//! of this project lets the kernel then kill the cgroup and everything below it.
//!
//! Made for supervisors that are killed themselves: the kernel closes their descriptors. Here the closing is done on purpose.

use std::fs::File;
use std::io::Write;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::common::freeze::{Variant, freeze_and_kill};
use super::common::levers::Levers;
use super::common::probe;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::{SysError, Target};
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct CgroupKillRelease;

static SPEC: KillSpec = KillSpec {
    id: "cgroup-kill-release",
    summary: "close the last copy of an open cgroup.kill to which `release` was written before the workload was started",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    since: KernelVersion::UNRELEASED,
    privilege: "a kernel with the draft series kernel-patch/series/b-job-handle",
    faults: "a copy of the descriptor that is held anywhere, in the workload too, keeps the workload alive; a worker thread kills, after the close \
             has returned; a cgroup that was made threaded after the arming is not killed (froze and signalled one by one instead); cannot be \
             disarmed",
    sources: &[
        "kernel-patch/series/b-job-handle/0003-cgroup-Kill-a-cgroup-when-an-armed-cgroup.kill-is-re.patch",
        "kernel/cgroup/cgroup.c: __cgroup_kill()",
    ],
    axes: &[],
};

impl KillStrategy for CgroupKillRelease {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_own_cgroup(host, |cgroup| match arm(cgroup) {
            Ok(_) => Ok(Support::Available),
            Err(e)
                if matches!(
                    e.errno(),
                    Some(Errno::EINVAL | Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EROFS)
                ) =>
            {
                Ok(Support::missing(
                    e,
                    "a kernel with the draft series: `lab build --series kernel-patch/series/a-prompt-depopulation --series \
                     kernel-patch/series/b-job-handle`, then `lab run`",
                ))
            }
            Err(e) => Err(e),
        })
    }

    fn prepare<'t>(&self, site: &'t Site, _: &mut SpawnPlan<'t>) -> Result<Box<dyn Killer + 't>, KillError> {
        Ok(Box::new(Ready {
            site,
            levers: Levers::of(site)?,
            handle: Some(arm(&site.cgroup)?),
        }))
    }
}

/// Opens `cgroup.kill` and arms it. Who drops the result kills.
fn arm(cgroup: &Cgroup) -> Result<File, CgroupError> {
    let mut handle = cgroup.open_file("cgroup.kill", OFlag::O_WRONLY)?;
    handle.write_all(b"release").map_err(|e| {
        SysError::io(
            "write `release` to",
            Target::Path(cgroup.path().join("cgroup.kill")),
            &e,
        )
    })?;
    Ok(handle)
}

#[derive(Debug)]
struct Ready<'t> {
    site: &'t Site,
    levers: Levers<'t>,
    handle: Option<File>,
}

impl Killer for Ready<'_> {
    fn kill(&mut self, _: &Root, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        // The kernel's worker kills, not the close.
        report.indirect = true;
        report.passes = 1;
        report.about_to_signal();
        drop(self.handle.take());
        report.sent(Ok(()), 0);
        // The one case in which the release does nothing can be seen from outside.
        if self.site.cgroup.read("cgroup.type")?.trim() == "threaded" {
            report.fall_back("the cgroup is threaded: froze and signalled one by one".to_owned());
            let variant = Variant {
                wait: true,
                thaw_first: false,
            };
            freeze_and_kill(self.site, &self.levers, variant, deadline, &mut report)?;
        }
        Ok(report.issued())
    }
}
