//! A cgroup of the v1 memory hierarchy with an eventfd in its `cgroup.event_control`, the
//! "notification API" of cgroup v1.
//!
//! The interface needs an event, and there is none for emptiness: the eventfd is registered for a
//! threshold of memory that cannot be reached, but it fires when the cgroup is *removed*. Sources:
//! Documentation/admin-guide/cgroup-v1/cgroups.rst 2.4, mm/memcontrol-v1.c:
//! `memcg_write_event_control()`, `memcg1_css_offline()`.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::detect::DetectError;
use crate::error::{SysError, Target};
use crate::host::name::RunName;
use crate::host::{Layout, Paths};
use crate::proc::Mounts;
use allgone::ProcessSet;
use allgone::detect::limit;

/// The cgroup, and the eventfd.
#[derive(Debug)]
pub(in crate::detect) struct MemoryCgroup {
    dir: PathBuf,
    event: EventFd,
}

impl MemoryCgroup {
    /// Where the cgroup of a trial is: below its limit, or else below this process's own cgroup,
    /// under the trial's name.
    pub(in crate::detect) fn place(
        set: &ProcessSet,
        name: impl Fn(&str) -> String,
    ) -> Result<PathBuf, SysError> {
        match set.v1().and_then(|limits| limits.memory.as_ref()) {
            Some(limit) => Ok(limit.join(name("site"))),
            None => Ok(own()?.join(name(set.label()))),
        }
    }

    /// Makes it, and registers the eventfd. Errors: `ENOENT` without `CONFIG_MEMCG_V1`,
    /// `EOPNOTSUPP` on PREEMPT_RT.
    pub(in crate::detect) fn make(dir: PathBuf) -> Result<Self, DetectError> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| limit::descriptor(SysError::plain("eventfd", e)))?;
        std::fs::create_dir(&dir)
            .map_err(|e| SysError::io("mkdir", Target::Path(dir.clone()), &e))?;
        // From here on dropping it removes the directory.
        let made = Self { dir, event };
        let usage = made.dir.join("memory.usage_in_bytes");
        let usage =
            File::open(&usage).map_err(|e| SysError::io("open", Target::Path(usage), &e))?;
        let control = made.dir.join("cgroup.event_control");
        // -1 is more than there can be.
        let line = format!("{} {} -1", made.event.as_raw_fd(), usage.as_raw_fd());
        std::fs::write(&control, line)
            .map_err(|e| SysError::io("register an eventfd in", Target::Path(control), &e))?;
        Ok(made)
    }

    /// The file into which a workload has to write itself.
    pub(in crate::detect) fn tasks(&self) -> Result<OwnedFd, SysError> {
        let path = self.dir.join("tasks");
        let file = File::options().write(true).open(&path);
        Ok(file
            .map_err(|e| SysError::io("open", Target::Path(path), &e))?
            .into())
    }

    /// Its path from the root of the hierarchy.
    pub(in crate::detect) fn path_of(dir: &Path) -> Result<PathBuf, SysError> {
        let path = Mounts::read()?.v1_path_of("memory", dir);
        path.ok_or_else(|| SysError::path("find in the v1 memory hierarchy", dir, Errno::ENOENT))
    }

    /// Removes it. Errors: `EBUSY` it has members.
    pub(in crate::detect) fn remove(&self) -> Result<(), SysError> {
        std::fs::remove_dir(&self.dir)
            .map_err(|e| SysError::io("rmdir", Target::Path(self.dir.clone()), &e))
    }

    /// Whether it exists.
    pub(in crate::detect) fn exists(&self) -> Result<bool, SysError> {
        match nix::sys::stat::stat(&self.dir) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(e) => Err(SysError::path("stat", &self.dir, e)),
        }
    }

    /// Resets the eventfd.
    pub(in crate::detect) fn drain(&self) -> Result<(), SysError> {
        match self.event.read() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(e) => Err(SysError::plain("read of the eventfd", e)),
        }
    }
}

impl AsFd for MemoryCgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for MemoryCgroup {
    /// One attempt. If it still has members, it is removed together with its limit when the trial
    /// is cleaned up.
    fn drop(&mut self) {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        match std::fs::remove_dir(&self.dir) {
            Err(e)
                if e.kind() != std::io::ErrorKind::NotFound && RunName::parse(&name).is_some() =>
            {
                tracing::warn!(path = %self.dir.display(), error = %e, "left behind: `scenario \
                    clean` removes it");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// This process's own directory in the v1 memory hierarchy.
pub(in crate::detect) fn own() -> Result<PathBuf, SysError> {
    let layout = Layout::read(&Paths::default())?;
    let missing = |_| SysError::plain("find own cgroup in a v1 memory hierarchy", Errno::ENOENT);
    layout.own_v1("memory").map(|dir| dir.path).map_err(missing)
}
