//! `cgroup-kill-release`: close an open `cgroup.kill` that was armed, by writing `release`, before
//! the workload was started. A draft series of this project lets the kernel then kill the cgroup
//! and everything below it.
//!
//! It is meant for supervisors that are killed themselves: the kernel closes their descriptors.
//! Here the descriptor is closed on purpose.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use allgone::kill::drive;
use allgone::kill::freeze::{FreezeSweep, Variant};

use super::common::{own, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::{SysError, Target};
use crate::expect::{Reach, Scope, Sweep};
use crate::record::FallbackKind;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct CgroupKillRelease;

static SPEC: KillSpec = KillSpec {
    id: "cgroup-kill-release",
    summary: "close the last copy of an open cgroup.kill to which `release` was written before the \
        workload was started",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::descriptors(4),
    since: KernelVersion::UNRELEASED,
    privilege: "a kernel with the draft series kernel-patch/series/b-job-handle",
    faults: "a copy of the descriptor that is held anywhere, in the workload too, keeps the \
        workload alive; a worker thread kills, after the close has returned; a cgroup that was \
        made threaded after the arming is not killed (froze and signalled one by one instead); \
        cannot be disarmed",
    sources: &[
        "kernel-patch/series/b-job-handle/0003-cgroup-Kill-a-cgroup-when-an-armed-cgroup.kill-is-re.patch",
        "kernel/cgroup/cgroup.c: __cgroup_kill()",
    ],
    axes: &[],
};

impl BlockingStrategy for CgroupKillRelease {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |cgroup| match arm(cgroup) {
            Ok(_) => Ok(Support::Available),
            Err(e)
                if matches!(
                    e.errno(),
                    Some(
                        Errno::EINVAL | Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EROFS
                    )
                ) =>
            {
                Ok(Support::missing(
                    e,
                    "a kernel with the draft series: `lab build --series \
                        kernel-patch/series/a-prompt-depopulation --series \
                        kernel-patch/series/b-job-handle`, then `lab run`",
                ))
            }
            Err(e) => Err(e.into()),
        })
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        Ok(Box::new(Ready {
            cgroup: set.cgroup().clone(),
            instead: FreezeSweep::prepare(set, Variant::HELD)?,
            handle: Some(arm(set.cgroup())?),
        }))
    }
}

/// Opens `cgroup.kill` and arms it. Dropping the result kills.
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
struct Ready {
    cgroup: Arc<Cgroup>,
    instead: FreezeSweep,
    handle: Option<File>,
}

impl BlockingKiller for Ready {
    fn kill(&mut self, _: &Child, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        // The kernel's worker kills, not the close.
        report.indirect = true;
        report.passes = 1;
        report.about_to_signal();
        drop(self.handle.take());
        report.sent(Ok(()), 0);
        // The one case in which the release does nothing can be seen from outside.
        if self.cgroup.read("cgroup.type")?.trim() == "threaded" {
            report.fall_back(own(
                FallbackKind::FrozeAndSignalled,
                "the cgroup is threaded: froze and signalled one by one",
            ));
            drive(&mut self.instead, deadline, &mut report)?;
        }
        Ok(report.issued())
    }
}
