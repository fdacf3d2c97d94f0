//! Probes of what detectors need beyond a cgroup.

use crate::host::{ProbeError, Support};

pub(crate) use allgone::detect::armed;
pub(crate) use allgone::host::probe::{events, in_cgroup, pass_through, passer_by, pidfd, tried};

/// Whether /proc shows the processes of this PID namespace, other users' included.
pub(crate) fn proc_is_ours() -> Result<Support, ProbeError> {
    if let Some(why) = crate::host::foreign_proc()? {
        return Ok(Support::missing(
            format_args!("/proc belongs to another PID namespace: {why}"),
            "a /proc of this PID namespace",
        ));
    }
    let me = nix::unistd::Pid::this().as_raw();
    match super::proc_stat::read(me)? {
        Some(_) if std::path::Path::new("/proc/1/stat").exists() => Ok(Support::Available),
        Some(_) => Ok(Support::missing(
            "/proc hides the processes of others",
            "a /proc without hidepid, or membership in its gid= group",
        )),
        None => Ok(Support::missing(
            "/proc does not show this process",
            "a /proc of this PID namespace",
        )),
    }
}
