//! `cgroup-kill`: write `1` to `cgroup.kill`. The kernel kills the cgroup and everything below it, forks in progress included.

use nix::errno::Errno;

use super::common::freeze::{Variant, freeze_and_kill};
use super::common::levers::{Levers, OPEN_LATE};
use super::common::probe;
use super::{KillError, KillReport, KillSpec, KillStrategy, Killer};
use crate::MonoNs;
use crate::expect::{Reach, Scope, Sweep};
use crate::host::{Host, KernelVersion, ProbeError, Support};
use crate::trial::{Root, Site, SpawnPlan};

/// The strategy.
#[derive(Debug)]
pub struct CgroupKill;

static SPEC: KillSpec = KillSpec {
    id: "cgroup-kill",
    summary: "write 1 to cgroup.kill",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "leaves a process whose first thread has exited alive (until the fix in 6.12.117 and later mainline); refused by a threaded cgroup (EOPNOTSUPP); waits for cgroup_mutex; until Linux 7.3 a process cloned into the cgroup afterwards is \
             killed at birth",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cgroup.kill",
        "kernel/cgroup/cgroup.c: __cgroup_kill(), 661ee6280931 (5.14), b69bb476dee9 (6.14)",
    ],
    axes: &[OPEN_LATE],
};

impl KillStrategy for CgroupKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::file(host, "cgroup.kill", "Linux 5.14 or later")
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
        kill_or_fall_back(self.site, &self.levers, deadline, &mut report)?;
        Ok(report.issued())
    }
}

/// Writes `cgroup.kill`; where that is refused, freezes and signals instead, and says so.
pub(super) fn kill_or_fall_back(
    site: &Site,
    levers: &Levers<'_>,
    deadline: MonoNs,
    report: &mut KillReport,
) -> Result<(), KillError> {
    report.passes += 1;
    report.about_to_signal();
    let refusal = match levers.kill() {
        Ok(()) => {
            report.sent(Ok(()), 0);
            return Ok(());
        }
        Err(e) => e,
    };
    let why = match refusal.errno() {
        Some(Errno::ENOENT) => "this kernel has no cgroup.kill (Linux 5.14)",
        Some(Errno::EOPNOTSUPP) => "the cgroup is threaded",
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => "no permission",
        _ => return Err(refusal.into()),
    };
    report.fall_back(format!("{refusal} ({why}): froze and signalled one by one"));
    let variant = Variant {
        wait: true,
        thaw_first: false,
    };
    freeze_and_kill(site, levers, variant, deadline, report)
}
