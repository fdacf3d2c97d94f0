//! What lives are played in: a process that does nothing else, with a cgroup and a mount namespace
//! of its own if it is root, so that what others do meanwhile is not seen.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use allgone::layout::{Layout, Paths};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::Pid;

use super::kinds::Kind;

/// This process as a world.
#[derive(Debug)]
pub(crate) struct World {
    /// The cgroup that was made for it, if that could be had.
    cgroup: Option<PathBuf>,
    /// A cgroup with little processor time for all that is started, if that could be had.
    quota: Option<PathBuf>,
    mounts: String,
}

impl World {
    /// Makes this process one.
    pub(crate) fn enter(kind: &Kind) -> Self {
        prctl::set_child_subreaper(true).unwrap();
        let mut cgroup = None;
        if nix::unistd::geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            // Nothing comes from outside; and what a run mounted would be seen here.
            for kind in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
                let flags = MsFlags::MS_REC | kind;
                mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
            }
            cgroup = own_cgroup(kind);
        }
        Self {
            cgroup,
            quota: kind.quota.then(quota).flatten(),
            mounts: mounts(),
        }
    }

    /// Whether runs can make cgroups here.
    pub(crate) fn has_cgroup(&self) -> bool {
        self.cgroup.is_some()
    }

    /// Whether there is little processor time here.
    pub(crate) fn has_quota(&self) -> bool {
        self.quota.is_some()
    }

    /// Puts a process where there is little processor time, if there is such a place.
    pub(crate) fn join_quota(&self, pid: Pid) {
        if let Some(quota) = &self.quota {
            std::fs::write(quota.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }

    /// After all processes of a run have ended: what it has left beside them. Empty cgroups are
    /// removed, and count as left unless they may stay; then their number is returned.
    pub(crate) fn clean(&self, launcher: Pid, may_stay: bool) -> Result<usize, String> {
        if mounts() != self.mounts {
            return Err(format!("mounts: {}", mounts()));
        }
        let left = groups(launcher);
        for path in &left {
            remove(path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        if !left.is_empty() && !may_stay {
            return Err(format!("cgroups: {left:?}"));
        }
        Ok(left.len())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(quota) = &self.quota {
            let removed = remove(quota);
            assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
        }
        if let Some(cgroup) = &self.cgroup {
            let above = cgroup.parent().unwrap().join("cgroup.procs");
            let moved = std::fs::write(above, std::process::id().to_string());
            let removed = moved.and_then(|()| std::fs::remove_dir(cgroup));
            assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
        }
    }
}

/// A cgroup for this process; below it, the run's user may make others if the kind says so.
fn own_cgroup(kind: &Kind) -> Option<PathBuf> {
    let own = Layout::read(&Paths::default()).unwrap().own_v2().ok()?;
    let path = own.join(format!("launcher-points-{}", std::process::id()));
    std::fs::create_dir(&path).ok()?;
    if kind.ordinary && kind.delegated {
        for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
            chown(path.join(file), Some(65_534), Some(65_534)).unwrap();
        }
    }
    std::fs::write(path.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    Some(path)
}

/// A cgroup of version 1 with a twentieth of one processor.
fn quota() -> Option<PathBuf> {
    let own = Layout::read(&Paths::default())
        .unwrap()
        .own_v1("cpu")
        .ok()?;
    let path = own
        .path
        .join(format!("launcher-points-{}", std::process::id()));
    std::fs::create_dir(&path).ok()?;
    std::fs::write(path.join("cpu.cfs_quota_us"), "5000").unwrap();
    std::fs::write(path.join("cpu.cfs_period_us"), "100000").unwrap();
    Some(path)
}

/// Of the thread, for another one may be in another namespace.
fn mounts() -> String {
    std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

/// Cgroups that this launcher has made, in all hierarchies.
fn groups(launcher: Pid) -> Vec<PathBuf> {
    let layout = Layout::read(&Paths::default()).unwrap();
    let prefix = format!("allgone-{launcher}-");
    let dirs = layout.own_v1_dirs().into_iter().chain(layout.own_v2().ok());
    let entries = dirs.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let of_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(&prefix)
    };
    paths.filter(of_it).collect()
}

/// Removes a cgroup without members, with what is below it.
fn remove(path: &Path) -> std::io::Result<()> {
    let entries: Vec<_> = std::fs::read_dir(path)?.flatten().collect();
    for entry in entries {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    // A process may leave its cgroup a moment after it was reaped.
    let busy = |e: &std::io::Error| e.raw_os_error() == Some(Errno::EBUSY as i32);
    let mut removed = std::fs::remove_dir(path);
    let within = crate::support::within(std::time::Duration::from_secs(1), || {
        if removed.as_ref().is_err_and(busy) {
            removed = std::fs::remove_dir(path);
        }
        !removed.as_ref().is_err_and(busy)
    });
    match within {
        true | false => removed,
    }
}
