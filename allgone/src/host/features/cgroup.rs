//! What can be done in cgroups.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::base::{PROBE_MEMORY, PROBE_TASKS, Refusal, try_v1, unique_name};
use crate::cgroup::{Cgroup, CgroupError, GRACE, remove_v1_when_empty};
use crate::error::{SysError, Target, retry_eintr};
use crate::host::probe::{SECCOMP, missing};
use crate::host::{Host, ProbeError, Support};
use crate::layout::V1Dir;
use crate::limits::{Limit, LimitSource};
use crate::probe::{Subject, in_child};
use crate::sys::spawn::Entry;

const NO_BASE: &str = "there is no base cgroup; the result of the search says why and what would \
    help";

fn with_base(
    host: &Host,
    trial: impl FnOnce(&Cgroup) -> Result<Support, Refusal>,
) -> Result<Support, ProbeError> {
    match &host.base {
        None => Ok(Support::missing("no base cgroup", NO_BASE)),
        Some(base) => in_child(base.cgroup(), &base.child_name()?, trial)
            .or_else(|refusal| Ok(missing(&refusal, NO_BASE))),
    }
}

/// Feature `cgroup2-write`.
pub(super) fn write(host: &Host) -> Result<Support, ProbeError> {
    with_base(host, |_| Ok(Support::Available))
}

/// Feature `pids-limit`: the search tries it before it takes a base, so its result holds.
pub(super) fn pids_limit(host: &Host) -> Result<Support, ProbeError> {
    Ok(match host.base.as_ref().map(|b| b.limits()) {
        Some(LimitSource::V2 { .. } | LimitSource::V1 { .. }) => Support::Available,
        Some(LimitSource::None) => Support::missing(
            "the base has no pids controller, which was allowed",
            "do not allow it",
        ),
        None => Support::missing("no base cgroup", NO_BASE),
    })
}

/// Feature `memory-limit`.
pub(super) fn memory_limit(host: &Host) -> Result<Support, ProbeError> {
    let Some(base) = &host.base else {
        return Ok(Support::missing("no base cgroup", NO_BASE));
    };
    Ok(match base.limits() {
        LimitSource::V2 { memory: true, .. }
        | LimitSource::V1 {
            memory: Some(_), ..
        } => Support::Available,
        _ => {
            let why = if base.notes().is_empty() {
                format!(
                    "memory is not enabled for the children of {}",
                    base.cgroup().path().display()
                )
            } else {
                base.notes().join("; ")
            };
            Support::missing(
                why,
                "enable the memory controller for the base, or have a v1 memory cgroup delegated",
            )
        }
    })
}

/// Feature `clone-into-cgroup`.
pub(super) fn clone_into(host: &Host) -> Result<Support, ProbeError> {
    with_base(host, |child| {
        let fate = Subject::start(Some(child), 0, false)?.end()?;
        Ok(match fate.entry {
            Entry::Moved(errno) => Support::missing(
                SysError::plain("clone3(CLONE_INTO_CGROUP)", errno),
                clone3_remedy(errno),
            ),
            _ => Support::Available,
        })
    })
}

fn clone3_remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::E2BIG => "Linux 5.7",
        _ => SECCOMP,
    }
}

/// Feature `cgroup-kill`.
pub(super) fn kill(host: &Host) -> Result<Support, ProbeError> {
    with_base(host, |child| {
        let subject = Subject::start(Some(child), 0, true)?;
        match child.kill() {
            Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(Support::missing(e, "Linux 5.14")),
            Err(e) => Err(e.into()),
            Ok(()) => {
                subject.end()?;
                Ok(Support::Available)
            }
        }
    })
}

/// Feature `freezer`.
pub(super) fn freezer(host: &Host) -> Result<Support, ProbeError> {
    with_base(host, |child| {
        let subject = Subject::start(Some(child), 0, true)?;
        if let Err(e) = child.freeze(true) {
            return if e.errno() == Some(Errno::ENOENT) {
                Ok(Support::missing(e, "Linux 5.2"))
            } else {
                Err(e.into())
            };
        }
        let frozen = becomes_frozen(child, Duration::from_secs(2))?;
        child.freeze(false)?;
        subject.kill()?;
        Ok(if frozen {
            Support::Available
        } else {
            Support::missing(
                "cgroup.events did not say \"frozen 1\" within 2 s",
                "look for a task in uninterruptible sleep",
            )
        })
    })
}

fn becomes_frozen(cgroup: &Cgroup, within: Duration) -> Result<bool, CgroupError> {
    let events = cgroup.events_file()?;
    let deadline = crate::sys::time::now() + within;
    loop {
        if events.read()?.frozen {
            return Ok(true);
        }
        let left = deadline.remaining();
        if left.is_zero() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        let timeout =
            PollTimeout::try_from(left.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        retry_eintr(|| poll(&mut fds, timeout))
            .map_err(|e| SysError::path("poll", cgroup.path(), e))?;
    }
}

const V1: &str = "only machines with v1 hierarchies have it, and only root (or a delegatee) may \
    make cgroups there";

fn v1(
    host: &Host,
    controller: &'static str,
    trial: impl FnOnce(&V1Dir) -> Result<(), SysError>,
) -> Result<Support, ProbeError> {
    let dir = match host.layout.own_v1(controller) {
        Ok(dir) => dir,
        Err(e) => return Ok(Support::missing(e, V1)),
    };
    Ok(match trial(&dir) {
        Ok(()) => Support::Available,
        Err(e) => Support::missing(e, V1),
    })
}

/// Feature `v1-pids`.
pub(super) fn v1_pids(host: &Host) -> Result<Support, ProbeError> {
    v1(host, "pids", |dir| {
        try_v1(dir, &unique_name(host.prefix)?, PROBE_TASKS)
    })
}

/// Feature `v1-memory`.
pub(super) fn v1_memory(host: &Host) -> Result<Support, ProbeError> {
    let limit: Limit = PROBE_MEMORY;
    v1(host, "memory", |dir| {
        try_v1(dir, &unique_name(host.prefix)?, limit)
    })
}

/// Feature `v1-freezer`: an empty cgroup is frozen at once.
pub(super) fn v1_freezer(host: &Host) -> Result<Support, ProbeError> {
    v1(host, "freezer", |dir| {
        let path = dir.path.join(unique_name(host.prefix)?);
        let fail = |op| {
            let path = path.clone();
            move |e: std::io::Error| SysError::io(op, Target::Path(path), &e)
        };
        std::fs::create_dir(&path).map_err(fail("mkdir"))?;
        let state = path.join("freezer.state");
        let tried = std::fs::write(&state, "FROZEN").and_then(|()| {
            let said = std::fs::read_to_string(&state)?;
            std::fs::write(&state, "THAWED")?;
            Ok(said)
        });
        remove_v1_when_empty(&path, crate::sys::time::now() + GRACE)?;
        match tried.map_err(fail("freeze"))?.trim_end() {
            "FROZEN" => Ok(()),
            _ => Err(SysError::path("freeze", &path, Errno::EAGAIN)),
        }
    })
}
