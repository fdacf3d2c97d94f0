//! Who is left after a kill, and why.

use crate::cgroup::CgroupError;
use crate::record::Survivor;

use super::Site;

/// Names the processes that are still in the site's cgroup or below. A zombie is never a survivor.
pub fn diagnose(site: &Site) -> Result<Vec<Survivor>, CgroupError> {
    let mut survivors = Vec::new();
    for pid in site.cgroup.procs_recursive()?.pids {
        let Ok(stat) = procfs::process::Process::new(pid).and_then(|p| p.stat()) else {
            continue;
        };
        if stat.state == 'Z' || stat.state == 'X' {
            continue;
        }
        survivors.push(Survivor {
            pid,
            comm: stat.comm,
            state: stat.state.to_string(),
            cgroup: site.cgroup.path().display().to_string(),
            reason: "not signalled".to_owned(),
            evidence: "alive in cgroup.procs with no SIGKILL pending".to_owned(),
        });
    }
    Ok(survivors)
}
