//! A limit on processor time around a workload whose stage asks for one.
//!
//! Where the cpu controller is v2, the limit is on the trial's own cgroup. On a hybrid machine it
//! is on a cgroup of the v1 hierarchy, which only the workload enters: an observer with that limit
//! would measure its own slowness.

use std::path::PathBuf;

use allgone::limits::{self, CpuQuota, Interface, Limit, LimitError};

use crate::cgroup::Cgroup;
use crate::error::{SysError, Target};
use crate::host::LimitSource;

/// A twentieth of one processor.
const QUOTA: CpuQuota = CpuQuota {
    quota_us: 5_000,
    period_us: 100_000,
};

/// Puts the limit on. Returns the directory that the workload has to enter, if there is one; it is
/// called `label`, by which it is found and removed with the trial.
pub(super) fn apply(
    source: &LimitSource,
    trial: &Cgroup,
    label: &str,
) -> Result<Option<PathBuf>, LimitError> {
    let limit = Limit::CpuQuota(QUOTA);
    match source {
        LimitSource::V2 { cpu: true, .. } => {
            limits::set(trial.path(), Interface::V2, limit)?;
            Ok(None)
        }
        LimitSource::V1 { cpu: Some(own), .. } => {
            let dir = own.path.join(label);
            std::fs::create_dir(&dir)
                .map_err(|e| SysError::io("mkdir", Target::Path(dir.clone()), &e))?;
            limits::set(&dir, Interface::V1, limit)?;
            Ok(Some(dir))
        }
        _ => Err(LimitError::NoController),
    }
}
