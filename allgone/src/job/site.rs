//! The cgroup of one job: made, entered once, removed.

use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::StartError;
use super::limits::V1Limits;
use crate::base::Base;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;

/// A cgroup below a base, with directories of the same name in v1 hierarchies if it has limits
/// there.
#[derive(Debug)]
pub(crate) struct Site {
    base: Base,
    name: String,
    cgroup: Arc<Cgroup>,
    v1: Option<V1Limits>,
}

impl Site {
    /// Makes one of this name. Errors: as mkdir(2).
    pub(crate) fn make(base: &Base, name: String) -> Result<Self, StartError> {
        let cgroup = base.cgroup().create(&name).map_err(StartError::cgroup)?;
        Ok(Self {
            base: base.clone(),
            name,
            cgroup: Arc::new(cgroup),
            v1: None,
        })
    }

    /// One that exists: a child of the base, empty but for a placeholder.
    pub(super) fn taken(base: &Base, cgroup: Cgroup) -> Self {
        let name = cgroup.path().file_name().unwrap_or_default();
        Self {
            base: base.clone(),
            name: name.to_string_lossy().into_owned(),
            cgroup: Arc::new(cgroup),
            v1: None,
        }
    }

    pub(super) fn cgroup(&self) -> &Arc<Cgroup> {
        &self.cgroup
    }

    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn limit(&mut self, v1: V1Limits) {
        self.v1 = Some(v1);
    }

    pub(super) fn v1(&self) -> Option<&V1Limits> {
        self.v1.as_ref()
    }

    /// For a forked copy of the host: what there is belongs to the original, and dropping it does
    /// nothing.
    pub(super) fn disown(&mut self) {
        if let Some(v1) = &mut self.v1 {
            v1.disown();
        }
    }

    /// Removes it with everything below, by the base's descriptor. `false`: it has members, so it
    /// is too early. Does not wait and does not kill.
    pub(super) fn remove(&self) -> Result<bool, CgroupError> {
        match self.remove_v2() {
            Ok(()) => {}
            Err(e) if e.errno() == Some(Errno::EBUSY) => return Ok(false),
            Err(e) => return Err(e),
        }
        match self.v1.as_ref().map_or(Ok(()), V1Limits::remove) {
            Ok(()) => Ok(true),
            Err(e) if e.errno == Errno::EBUSY => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    fn remove_v2(&self) -> Result<(), CgroupError> {
        match self.unlink() {
            // rmdir(2) of a cgroup with children says `EBUSY`, as of one with members.
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => {
                self.cgroup.remove_descendants()?;
                self.unlink()
            }
            other => other,
        }
        .map_err(|e| SysError::path("rmdir", self.cgroup.path(), e).into())
    }

    fn unlink(&self) -> Result<(), Errno> {
        let dir = self.base.cgroup();
        match unlinkat(dir, self.name.as_str(), UnlinkatFlags::RemoveDir) {
            // Another process was first.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}
