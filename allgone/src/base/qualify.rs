//! Trying one cgroup: may children be made there, may they be given limits, may a process be born
//! in one?
//!
//! Nothing is concluded from a mode or an owner. A probe cgroup is made, limited, entered and
//! removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

use super::controllers::Shared;
use super::{Base, Inner, Refusal, own_name};
use crate::cgroup::{Cgroup, GRACE, remove_v1_when_empty};
use crate::error::{SysError, Target};
use crate::layout::{Layout, V1Dir};
use crate::limits::{self, Interface, Limit, LimitSource};
use crate::probe::{Subject, in_child};
use crate::sys::time::now;

/// A cgroup to try, and what may be done for it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Its directory.
    pub path: PathBuf,
    /// Where it comes from, in words.
    pub how: String,
    /// Why controllers may be enabled for its children, or why they may not.
    pub authority: Result<&'static str, &'static str>,
    /// Refuse it if no limit on tasks can be had.
    pub tasks_limit: bool,
    /// The prefix of the names of what is made there.
    pub prefix: &'a str,
    /// For the limits of a hybrid machine.
    pub layout: &'a Layout,
}

/// Limits used for trying; nothing ever runs under them but a process that fails to exec.
pub const PROBE_TASKS: Limit = Limit::Tasks(16);
/// As [`PROBE_TASKS`].
pub const PROBE_MEMORY: Limit = Limit::MemoryBytes(64 << 20);

impl Place<'_> {
    /// Tries it for real. On failure everything has been undone.
    pub fn qualify(&self) -> Result<Base, Refusal> {
        let cgroup = open_v2(&self.path)?;
        let name = own_name(self.prefix)?;
        let mut inner = Inner::new(cgroup, name, self.how.clone());
        // From here on dropping it undoes what was changed.
        inner.limits = match self.v2_limits(&mut inner) {
            Ok(limits) => limits,
            Err(refusal) if self.tasks_limit => return Err(refusal),
            Err(refusal) => {
                inner.notes.push(format!("no limits: {refusal}"));
                LimitSource::None
            }
        };
        try_out(&inner.cgroup, &inner.child_name()?, &inner.limits)?;
        Ok(Base(Arc::new(inner)))
    }

    /// Where limits are to come from: the v2 controllers, if need be after enabling them, else v1
    /// hierarchies.
    fn v2_limits(&self, inner: &mut Inner) -> Result<LimitSource, Refusal> {
        let (shared, enabled) = Shared::join(&inner.cgroup, self.authority)?;
        inner.shared = Some(shared);
        inner.notes.extend(enabled.notes);
        if !enabled.new.is_empty() {
            inner.changes.push(format!(
                "enabled {} for the children of {}",
                enabled.new.join(" and "),
                self.path.display()
            ));
        }
        let has = |name: &str| enabled.controllers.iter().any(|there| there == name);
        if has("pids") {
            return Ok(LimitSource::V2 {
                memory: has("memory"),
                cpu: has("cpu"),
            });
        }
        self.v1_limits(inner).map_err(|why| {
            Refusal::NoPids(format!(
                "{} does not offer pids, and {why}",
                self.path.display()
            ))
        })
    }

    fn v1_limits(&self, inner: &mut Inner) -> Result<LimitSource, String> {
        let usable = |controller, limit| -> Result<V1Dir, String> {
            let dir = self.layout.own_v1(controller).map_err(|e| e.to_string())?;
            let name = inner.child_name().map_err(|e| e.to_string())?;
            try_v1(&dir, &name, limit).map_err(|e| e.to_string())?;
            Ok(dir)
        };
        let pids = usable("pids", PROBE_TASKS)?;
        let memory = usable("memory", PROBE_MEMORY);
        let cpu = usable("cpu", Limit::CpuQuota(limits::WHOLE_CPU));
        for (name, tried) in [("memory", &memory), ("CPU", &cpu)] {
            if let Err(why) = tried {
                inner.notes.push(format!("no {name} limit: {why}"));
            }
        }
        Ok(LimitSource::V1 {
            pids,
            memory: memory.ok(),
            cpu: cpu.ok(),
        })
    }
}

/// Opens a directory of a cgroup v2 hierarchy.
pub fn open_v2(path: &Path) -> Result<Cgroup, Refusal> {
    let cgroup = Cgroup::open(path)?;
    let kind = fstatfs(&cgroup).map_err(|e| SysError::path("fstatfs", path, e))?;
    if kind.filesystem_type() != CGROUP2_SUPER_MAGIC {
        return Err(Refusal::NotCgroup2(path.to_path_buf()));
    }
    Ok(cgroup)
}

/// Makes, limits and removes the cgroup `name` in a v1 hierarchy.
pub fn try_v1(dir: &V1Dir, name: &str, limit: Limit) -> Result<(), SysError> {
    let path = dir.path.join(name);
    let made = std::fs::create_dir(&path);
    let made = made.map_err(|e| SysError::io("mkdir", Target::Path(path.clone()), &e));
    let limited = made.and_then(|()| limits::set(&path, Interface::V1, limit));
    let removed = if path.is_dir() {
        remove_v1_when_empty(&path, now() + GRACE)
    } else {
        Ok(())
    };
    limited.and(removed)
}

/// Makes, limits, enters and removes a child.
fn try_out(cgroup: &Cgroup, name: &str, limits: &LimitSource) -> Result<(), Refusal> {
    in_child(cgroup, name, |child| {
        if let LimitSource::V2 { memory, .. } = limits {
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
