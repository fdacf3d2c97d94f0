//! `unthrottle-then-kill`: lift the CPU limits of the set, then `cgroup.kill`. A process that may
//! not run cannot die quickly either.
//!
//! Only limits on the trial's own cgroups are lifted: in v2 on the site, everything below it and
//! its parent; in v1 on cgroups of members that carry the name of a run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::common::probe;
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::cgroup::{Census, Cgroup, CgroupError};
use crate::error::{SysError, Target};
use crate::expect::{Reach, Scope, Sweep};
use crate::proc::{self, Mounts};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::cgroup_kill::KillOrSweep;
use allgone::kill::drive;
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct UnthrottleThenKill;

static SPEC: KillSpec = KillSpec {
    id: "unthrottle-then-kill",
    summary: "lift cpu.max (v1: cpu.cfs_quota_us) of the set's own cgroups, then write 1 to \
        cgroup.kill",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 14),
    privilege: "the cpu controller, where a limit was set",
    faults: "as cgroup-kill; until the last one is dead the set runs without a limit",
    sources: &[
        "Documentation/admin-guide/cgroup-v2.rst: cpu.max",
        "Documentation/scheduler/sched-bwc.rst",
    ],
    axes: &[],
};

impl BlockingStrategy for UnthrottleThenKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::file(host, "cgroup.kill", "Linux 5.14 or later")
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
        if let Some(parent) = self.set.parent() {
            lift_v2(parent)?;
        }
        lift_v2_below(self.set.cgroup())?;
        if let Err(e) = lift_v1(self.set.cgroup()) {
            match e {
                KillError::Sys(e) => report.met(&e),
                other => return Err(other),
            }
        }
        drive(&mut self.write, deadline, &mut report)?;
        Ok(report.issued())
    }
}

fn lift_v2_below(cgroup: &Cgroup) -> Result<(), CgroupError> {
    lift_v2(cgroup)?;
    for child in cgroup.descendants()? {
        lift_v2(&child?)?;
    }
    Ok(())
}

/// `max` to `cpu.max`. No such file, or no such cgroup any more: nothing to lift.
fn lift_v2(cgroup: &Cgroup) -> Result<(), CgroupError> {
    match cgroup.write("cpu.max", "max") {
        Err(e) if !matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Err(e),
        _ => Ok(()),
    }
}

/// `-1` to `cpu.cfs_quota_us` of every v1 cpu cgroup that a member is in and that belongs to a run.
fn lift_v1(cgroup: &Cgroup) -> Result<(), KillError> {
    let mounts = Mounts::read()?;
    let mut directories = BTreeSet::new();
    for pid in Census::deep(cgroup)?.pids {
        let place = match proc::membership(pid) {
            Ok(place) => place,
            Err(e) if proc::vanished(&e) => continue,
            Err(e) => return Err(e.into()),
        };
        directories.extend(
            place
                .v1("cpu")
                .and_then(|path| limits_of_a_run(&mounts, path)),
        );
    }
    for directory in directories {
        let file = directory.join("cpu.cfs_quota_us");
        std::fs::write(&file, "-1")
            .map_err(|e| SysError::io("write \"-1\" to", Target::Path(file), &e))?;
    }
    Ok(())
}

/// The directory, if a component of the path is the name of a run.
fn limits_of_a_run(mounts: &Mounts, path: &str) -> Option<PathBuf> {
    let ours = Path::new(path).components().any(|part| {
        part.as_os_str()
            .to_str()
            .is_some_and(|name| name.starts_with("scenario-"))
    });
    if ours { mounts.v1("cpu", path) } else { None }
}
