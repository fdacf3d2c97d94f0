//! Scan /proc for processes in the site's cgroup or below it.

use std::path::Path;

use super::common::passes::{Pass, Passes};
use super::common::probe;
use super::common::proc_stat;
use super::{DetectError, Detector, DetectorSpec, INTERVAL, Wake, Watch};
use crate::error::SysError;
use crate::expect::Scope;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::entered;
use allgone::detect::kernel_path;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `/proc/<pid>/cgroup` of every process, each `interval`; two passes in a row that find no process
/// decide.
#[derive(Debug)]
pub(super) struct ProcScan;

static SPEC: DetectorSpec = DetectorSpec {
    id: "proc-scan",
    summary: "Scans /proc at intervals for processes in the site's cgroup or below it.",
    scope: Scope::SystemWide,
    wake: Wake::Interval,
    signal: super::Signal::Emptiness,
    effects: Effects::NONE,
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "every process, if /proc is mounted with hidepid or shows another PID namespace",
    early: "a pass is not a snapshot: a chain of forks that runs against the order of the \
        directory, or past the end of the pid space, can be missed (two passes have to agree)",
    late: "by up to two intervals",
    idle_cost: "one pass over /proc per interval: six system calls per process on the machine",
    overflow: "cannot: it reads the state",
    loses_on_removal: false,
    sources: &["proc_pid_cgroup(5)", "proc_pid_stat(5)"],
    axes: &[INTERVAL],
};

impl Detector for ProcScan {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        probe::proc_is_ours()
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        let path = kernel_path::of(set.cgroup().path())?;
        let members = Members {
            path: path.to_string_lossy().into_owned(),
        };
        Ok(Box::new(Passes::over(members, set)))
    }
}

#[derive(Debug)]
struct Members {
    path: String,
}

/// Whether a `/proc/<pid>/cgroup` table names `site` or something below it in the v2 hierarchy. A
/// removed cgroup has a suffix, so a process cannot be in it.
fn is_member(table: &str, site: &str) -> bool {
    table
        .lines()
        .filter_map(|line| line.strip_prefix("0::"))
        .any(|path| Path::new(path).starts_with(site))
}

/// Whether process `pid` is in `site` or below it. One that has ended is not.
pub(super) fn has_member(site: &str, pid: i32) -> Result<bool, SysError> {
    let path = format!("/proc/{pid}/cgroup");
    match std::fs::read_to_string(&path) {
        Ok(table) => Ok(is_member(&table, site)),
        Err(e) if matches!(e.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ESRCH)) => {
            Ok(false)
        }
        Err(e) => Err(SysError::io("read", crate::Target::Path(path.into()), &e)),
    }
}

impl Pass for Members {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn finds_a_live_one(&self) -> Result<bool, SysError> {
        for stat in proc_stat::scan()? {
            if stat.over() {
                continue;
            }
            if has_member(&self.path, stat.pid)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_v2_line_and_whole_names_count() {
        let table = "4:memory:/run/t/site\n0::/run/t/site/sub\n";
        assert!(is_member(table, "/run/t/site"));
        assert!(
            !is_member(table, "/run/t/si"),
            "a name is not a prefix of another"
        );
        assert!(!is_member("4:memory:/run/t/site\n0::/\n", "/run/t/site"));
        assert!(is_member("0::/run/t/site\n", "/run/t/site"));
    }
}
