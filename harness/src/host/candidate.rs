//! Trying one cgroup: may children be made there, may they be given a pids limit, may a process be
//! born in one?
//!
//! Nothing is concluded from a mode or an owner. A probe cgroup is made, limited, entered and
//! removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use thiserror::Error;

use super::delegation::{Delegation, EnableError};
use super::journal::Journal;
use super::limits::{self, Interface, Limit};
use super::mounts::{Layout, NotVisible};
use super::name::probe_name;
use super::subject::Subject;
use super::{Base, LimitSource, V1Dir, leftovers, remove};
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;

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
    /// A process could not be started, or could not enter a child of the cgroup.
    #[error("a process could not be started there: {step}: {errno}")]
    Entry {
        /// What was tried.
        step: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A process was killed before it ran. The kernel bug that [`super::bugs`] describes does this
    /// to every child of a process whose own cgroup was once killed.
    #[error(
        "a process that was born in {0} was killed at once: own cgroup was killed earlier, and \
            this kernel has the bug fixed by 8e3599202166"
    )]
    KilledAtBirth(PathBuf),
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
    pub allow_no_limits: bool,
    /// Where changes are noted.
    pub journal: Option<Arc<Journal>>,
    /// For the limits of a hybrid machine.
    pub layout: &'a Layout,
}

/// Limits used for trying; nothing ever runs under them but a process that fails to exec.
pub(super) const PROBE_TASKS: Limit = Limit::Tasks(16);
pub(super) const PROBE_MEMORY: Limit = Limit::MemoryBytes(64 << 20);

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
        .and_then(|limits| try_out(&cgroup, &limits).map(|()| limits));
    match tried {
        Ok(limits) => Ok(Base {
            cgroup,
            limits,
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

/// Where the pids limit is to come from: the v2 controller, if need be after enabling it, else a v1
/// hierarchy, else nowhere.
fn choose_belts(
    cgroup: &Cgroup,
    candidate: &Candidate<'_>,
    delegation: &mut Delegation,
    notes: &mut Vec<String>,
) -> Result<LimitSource, Refusal> {
    let available = cgroup.read("cgroup.controllers")?;
    let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|c| c == name);
    let enabled = cgroup.read("cgroup.subtree_control")?;
    if has(&enabled, "pids") {
        return Ok(LimitSource::V2 {
            memory: has(&enabled, "memory"),
        });
    }
    if has(&available, "pids") {
        candidate
            .authority
            .map_err(|why| Refusal::NotDelegated(why.to_owned()))?;
        let memory = has(&available, "memory");
        let wanted: &[&str] = if memory {
            &["pids", "memory"]
        } else {
            &["pids"]
        };
        *delegation = Delegation::enable(cgroup, candidate.own, wanted, candidate.journal.clone())?;
        return Ok(LimitSource::V2 { memory });
    }
    match v1_limits(candidate.layout, notes) {
        Ok(limits) => Ok(limits),
        Err(why) if candidate.allow_no_limits => {
            notes.push(format!("no pids limit, as allowed: {why}"));
            Ok(LimitSource::None)
        }
        Err(why) => Err(Refusal::NoPids(format!(
            "{} offers {:?} only, and {why}",
            candidate.path.display(),
            available.trim_end()
        ))),
    }
}

fn v1_limits(layout: &Layout, notes: &mut Vec<String>) -> Result<LimitSource, String> {
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
    Ok(LimitSource::V1 {
        pids,
        memory: memory.ok(),
    })
}

/// Makes, limits and removes a cgroup in a v1 hierarchy.
pub(super) fn try_v1(dir: &V1Dir, limit: Limit) -> Result<(), SysError> {
    let name = probe_name()?;
    let limited = limits::create_v1_limit(dir, Path::new(&name), limit);
    let path = dir.path.join(&name);
    let removed = if path.is_dir() {
        remove::v1_when_empty(&path, crate::sys::time::now() + remove::GRACE)
    } else {
        Ok(())
    };
    limited.and(removed)
}

/// Runs `trial` on a new child of `cgroup`, and removes it with whatever lives in it. An error of
/// the trial comes before an error of the removal.
pub(crate) fn in_child<T, E: From<CgroupError> + From<SysError>>(
    cgroup: &Cgroup,
    trial: impl FnOnce(&Cgroup) -> Result<T, E>,
) -> Result<T, E> {
    let child = cgroup.create(&probe_name()?)?;
    let tried = trial(&child);
    let removed = leftovers::remove_probe(child.path(), crate::sys::time::now() + remove::GRACE);
    let value = tried?;
    removed?;
    Ok(value)
}

/// Makes, limits, enters and removes a child.
fn try_out(cgroup: &Cgroup, limits: &LimitSource) -> Result<(), Refusal> {
    in_child(cgroup, |child| {
        if let LimitSource::V2 { memory } = limits {
            limits::set(child.path(), Interface::V2, PROBE_TASKS)?;
            if *memory {
                limits::set(child.path(), Interface::V2, PROBE_MEMORY)?;
            }
        }
        let fate = Subject::start(Some(child), 0, false)?.end()?;
        if fate.killed {
            return Err(Refusal::KilledAtBirth(child.path().to_path_buf()));
        }
        Ok(())
    })
}
