//! Trying one cgroup: may children be made there, may they be given a pids limit, may a process be born in one?
//!
//! Nothing is concluded from a mode or an owner. A probe cgroup is made, limited, entered and removed.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use thiserror::Error;

use super::delegation::{Delegation, EnableError};
use super::limits::{self, Interface, Limit};
use super::mounts::{Layout, NotVisible};
use super::{Base, Belts, V1Dir, name, remove};
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;
use crate::sys::spawn::{self, Entry, Plan, Session, Step};

/// Why a cgroup does not qualify as a base.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The kernel refused an operation on a cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// There is no such directory to try.
    #[error(transparent)]
    NotVisible(#[from] NotVisible),
    /// Another file system.
    #[error("{0} is not in a cgroup v2 hierarchy")]
    NotCgroup2(PathBuf),
    /// Mounted read-only.
    #[error("{0} is mounted read-only")]
    ReadOnly(PathBuf),
    /// No limit, no bomb.
    #[error("no pids limit can be had for its children: {0}")]
    NoPids(String),
    /// Controllers would have to be enabled, and may not or cannot.
    #[error("its pids controller is not enabled for children: {0}")]
    NotDelegated(String),
    /// A process could not be put into a child of it.
    #[error("a process could not enter a child of it: {step}: {errno}")]
    Entry {
        /// What was tried.
        step: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
    /// `systemd-run` is not there, or did not work.
    #[error("{0}")]
    Scope(String),
}

impl Refusal {
    /// The kernel's answer, if that is what went wrong.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Sys(e) => Some(e.errno),
            Self::Cgroup(e) => e.errno(),
            Self::Entry { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

impl From<EnableError> for Refusal {
    fn from(e: EnableError) -> Self {
        match e {
            EnableError::Cgroup(e) => Self::Cgroup(e),
            members @ EnableError::Members { .. } => Self::NotDelegated(members.to_string()),
        }
    }
}

/// A cgroup to try, and what may be done for it.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    /// Its directory.
    pub path: PathBuf,
    /// Where it comes from, in words.
    pub how: String,
    /// This process is a member.
    pub own: bool,
    /// Why controllers may be enabled in it, or why not.
    pub authority: Result<&'static str, &'static str>,
    /// Be content without a pids limit.
    pub allow_no_belt: bool,
    /// For the belts of a hybrid machine.
    pub layout: &'a Layout,
}

/// Limits used for trying; nothing ever runs under them but a process that fails to exec.
const PROBE_TASKS: Limit = Limit::Tasks(16);
const PROBE_MEMORY: Limit = Limit::MemoryBytes(64 << 20);

/// Tries the candidate for real. On failure everything has been taken back.
pub(super) fn qualify(candidate: &Candidate<'_>) -> Result<Base, Refusal> {
    let cgroup = Cgroup::open(&candidate.path)?;
    let kind = fstatfs(&cgroup).map_err(|e| SysError::path("fstatfs", &candidate.path, e))?;
    if kind.filesystem_type() != CGROUP2_SUPER_MAGIC {
        return Err(Refusal::NotCgroup2(candidate.path.clone()));
    }
    let mut delegation = Delegation::default();
    let mut notes = Vec::new();
    let tried = choose_belts(&cgroup, candidate, &mut delegation, &mut notes)
        .and_then(|belts| try_out(&cgroup, &belts).map(|()| belts));
    match tried {
        Ok(belts) => Ok(Base {
            cgroup,
            belts,
            how: candidate.how.clone(),
            changes: delegation.lines(),
            notes,
            delegation,
        }),
        Err(refusal) => {
            for failed in delegation.undo() {
                tracing::warn!(error = %failed, "could not take back a step of delegation");
            }
            Err(refusal)
        }
    }
}

/// Where the pids limit is to come from: the v2 controller, if need be after enabling it, else a v1 hierarchy, else nowhere.
fn choose_belts(
    cgroup: &Cgroup,
    candidate: &Candidate<'_>,
    delegation: &mut Delegation,
    notes: &mut Vec<String>,
) -> Result<Belts, Refusal> {
    let available = cgroup.read("cgroup.controllers")?;
    let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|c| c == name);
    let enabled = cgroup.read("cgroup.subtree_control")?;
    if has(&enabled, "pids") {
        return Ok(Belts::V2 {
            memory: has(&enabled, "memory"),
        });
    }
    if has(&available, "pids") {
        candidate
            .authority
            .map_err(|why| Refusal::NotDelegated(why.to_owned()))?;
        let memory = has(&available, "memory");
        let wanted: &[&str] = if memory { &["pids", "memory"] } else { &["pids"] };
        *delegation = Delegation::enable(cgroup, candidate.own, wanted)?;
        return Ok(Belts::V2 { memory });
    }
    match v1_belts(candidate.layout, notes) {
        Ok(belts) => Ok(belts),
        Err(why) if candidate.allow_no_belt => {
            notes.push(format!("no pids limit, as allowed: {why}"));
            Ok(Belts::None)
        }
        Err(why) => Err(Refusal::NoPids(format!(
            "{} offers {:?} only, and {why}",
            candidate.path.display(),
            available.trim_end()
        ))),
    }
}

fn v1_belts(layout: &Layout, notes: &mut Vec<String>) -> Result<Belts, String> {
    let usable = |controller, limit| -> Result<V1Dir, String> {
        let dir = layout.own_v1(controller).map_err(|e| e.to_string())?;
        try_v1(&dir, limit).map_err(|e| e.to_string())?;
        Ok(dir)
    };
    let pids = usable("pids", PROBE_TASKS)?;
    let memory = usable("memory", PROBE_MEMORY);
    if let Err(why) = &memory {
        notes.push(format!("no memory limit: {why}"));
    }
    Ok(Belts::V1 {
        pids,
        memory: memory.ok(),
    })
}

fn probe_name() -> Result<String, SysError> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    Ok(format!(
        "{}.probe{}",
        name::run_name()?,
        COUNT.fetch_add(1, Ordering::Relaxed)
    ))
}

/// Makes, limits and removes a cgroup in a v1 hierarchy.
fn try_v1(dir: &V1Dir, limit: Limit) -> Result<(), SysError> {
    let name = probe_name()?;
    let limited = limits::create_v1_belt(dir, Path::new(&name), limit);
    let path = dir.path.join(&name);
    let removed = if path.is_dir() {
        remove::v1_when_empty(&path, crate::sys::time::now() + remove::GRACE)
    } else {
        Ok(())
    };
    limited.and(removed)
}

/// Makes, limits, enters and removes a child.
fn try_out(cgroup: &Cgroup, belts: &Belts) -> Result<(), Refusal> {
    let name = probe_name()?;
    let child = cgroup.create(&name)?;
    let mut tried = Ok(());
    if let Belts::V2 { memory } = belts {
        tried = limits::set(child.path(), Interface::V2, PROBE_TASKS);
        if *memory {
            tried = tried.and_then(|()| limits::set(child.path(), Interface::V2, PROBE_MEMORY));
        }
    }
    let tried = tried.map_err(Refusal::from).and_then(|()| birth(&child).map(|_| ()));
    let removed = remove::when_empty(cgroup, &name, crate::sys::time::now() + remove::GRACE);
    tried?;
    Ok(removed?)
}

/// What became of a process that was started in a cgroup and had nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    /// Born there, or moved.
    pub entry: Entry,
    /// It was killed by SIGKILL before it could fail to exec.
    pub killed: bool,
}

/// Starts a process in `cgroup` that ends at once: it is told to execute `/dev/null`, which is refused. Works in a process with threads.
pub(super) fn birth(cgroup: &Cgroup) -> Result<Birth, Refusal> {
    let null = File::open("/dev/null").map_err(|e| SysError::io("open /dev/null", crate::Target::Nothing, &e))?;
    let argv: [CString; 0] = [];
    let plan = Plan {
        exe: null.as_fd(),
        argv: &argv,
        envp: &argv,
        cgroup: Some(cgroup.as_fd()),
        clone_flags: 0,
        session: Session::Inherit,
        credentials: None,
        inherit: &[],
        gate: None,
        init: false,
        parent_death_signal: None,
    };
    let spawned = spawn::spawn(&plan).map_err(|e| Refusal::Entry {
        step: "clone3(CLONE_INTO_CGROUP)",
        errno: Errno::from_raw(e.raw_os_error().unwrap_or(nix::libc::EIO)),
    })?;
    let wait = |errno| SysError::pid("wait for the end", spawned.pid.as_raw(), errno);
    let mut fds = [PollFd::new(spawned.pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(Duration::from_secs(5)).unwrap_or(PollTimeout::MAX);
    if crate::error::retry_eintr(|| poll(&mut fds, timeout)).map_err(wait)? == 0 {
        // It only had system calls to make; one of them hangs. It is ours, so it may be ended.
        crate::sys::pidfd::send_signal(spawned.pidfd.as_fd(), Some(nix::sys::signal::Signal::SIGKILL)).map_err(wait)?;
        return Err(wait(Errno::ETIMEDOUT).into());
    }
    let status = crate::error::retry_eintr(|| {
        waitid(
            Id::PIDFd(spawned.pidfd.as_fd()),
            WaitPidFlag::WEXITED | WaitPidFlag::__WALL,
        )
    });
    let killed = matches!(status.map_err(wait)?, WaitStatus::Signaled(..));
    match spawned.failure().map_err(wait)? {
        Some(failure) if failure.step != Step::Exec => Err(Refusal::Entry {
            step: failure.step.name(),
            errno: failure.errno,
        }),
        _ => Ok(Birth {
            entry: spawned.entry,
            killed,
        }),
    }
}
