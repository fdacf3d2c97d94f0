//! `cgroups-rs-kill`: the kill of the crate `cgroups-rs`, off the shelf.

use std::path::{Path, PathBuf};

use cgroups_rs::fs::Cgroup as OffTheShelf;
use cgroups_rs::fs::cgroup::UNIFIED_MOUNTPOINT;
use cgroups_rs::fs::hierarchies::V2;

use super::common::{acting, probe};
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::expect::{Reach, Scope, Sweep};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::SpawnOptions;

/// The strategy.
#[derive(Debug)]
pub(super) struct CgroupsRsKill;

static SPEC: KillSpec = KillSpec {
    id: "cgroups-rs-kill",
    summary: "Cgroup::kill of the crate cgroups-rs, which writes cgroup.kill",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects::NONE,
    since: KernelVersion(5, 14),
    privilege: "",
    faults: "as cgroup-kill, without a fallback; only below /sys/fs/cgroup; the cgroup is found \
        again by its path, and its file opened, when it kills",
    sources: &["cgroups-rs 0.5: src/fs/cgroup.rs, Cgroup::kill()"],
    axes: &[],
};

impl BlockingStrategy for CgroupsRsKill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |cgroup| {
            let Some(relative) = below_mount(cgroup.path()) else {
                return Ok(Support::missing(
                    format_args!(
                        "{} is not below {UNIFIED_MOUNTPOINT}",
                        cgroup.path().display()
                    ),
                    "a cgroup below /sys/fs/cgroup",
                ));
            };
            Ok(match kill(&relative) {
                Ok(()) => Support::Available,
                Err(e) => Support::missing(e, "Linux 5.14 or later"),
            })
        })
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let relative = below_mount(set.cgroup().path()).ok_or_else(|| KillError::Refused {
            strategy: SPEC.id,
            why: format!(
                "{} is not below {UNIFIED_MOUNTPOINT}",
                set.cgroup().path().display()
            ),
        })?;
        Ok(acting(move |_, _, report| kill_all(&relative, report)))
    }
}

/// The crate's root is fixed; on a hybrid machine the path then begins with `unified`.
fn below_mount(path: &Path) -> Option<PathBuf> {
    path.strip_prefix(UNIFIED_MOUNTPOINT)
        .ok()
        .map(Path::to_path_buf)
}

/// As its users call it: nothing is created or enabled by `load`.
fn kill(relative: &Path) -> Result<(), KillError> {
    OffTheShelf::load(Box::new(V2::new()), relative)
        .kill()
        .map_err(|e| KillError::Library {
            library: "cgroups-rs",
            answer: e.to_string(),
        })
}

fn kill_all(relative: &Path, report: &mut KillReport) -> Result<(), KillError> {
    report.passes = 1;
    report.about_to_signal();
    kill(relative)?;
    report.sent(Ok(()), 0);
    Ok(())
}
