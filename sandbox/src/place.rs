//! Where cgroups of a run are made: in this process's own.

use std::ffi::{CString, OsStr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use allgone::layout::{Layout, Paths};
use allgone::sys::spawn::launch::remove_cgroup;
use allgone::sys::time;
use allgone::{MonoNs, SysError};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

/// Where the program's cgroup is made.
#[derive(Debug)]
pub struct Place {
    /// The directory above: this process's own cgroup.
    pub parent: OwnedFd,
    /// Where that is.
    pub parent_path: PathBuf,
    /// The name of the new one.
    pub name: CString,
}

impl Place {
    /// The path of the new one.
    pub fn path(&self) -> PathBuf {
        self.parent_path
            .join(OsStr::from_bytes(self.name.to_bytes()))
    }
}

/// Where the hierarchies are.
pub(crate) fn layout() -> Result<Layout, String> {
    Layout::read(&Paths::default()).map_err(|e| e.to_string())
}

/// The name of all cgroups of this run. The clock keeps a process that has been given the number of
/// one that was killed from meeting what that left.
pub(crate) fn name() -> CString {
    let name = format!("allgone-{}-{:x}", std::process::id(), time::now().0);
    CString::new(name).unwrap_or_default()
}

/// Below which cgroup that of the program is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Above {
    /// This process's own, as far as that may be had.
    #[default]
    Own,
    /// A scope that systemd is asked for.
    Systemd,
    /// This directory.
    At(PathBuf),
}

impl Above {
    /// Reads `auto`, `systemd`, or an absolute path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Own),
            "systemd" => Some(Self::Systemd),
            path => path.starts_with('/').then(|| Self::At(path.into())),
        }
    }
}

/// A cgroup below which another can be made.
pub(crate) fn place(
    layout: &Result<Layout, String>,
    name: &CString,
    above: &Above,
) -> Result<Place, String> {
    let parent_path = match above {
        // Before systemd has been asked, which a dry run does not.
        Above::Own | Above::Systemd => {
            let layout = layout.as_ref().map_err(Clone::clone)?;
            layout.own_v2().map_err(|e| e.to_string())?
        }
        Above::At(path) if path.join("cgroup.controllers").exists() => path.clone(),
        Above::At(path) => return Err(format!("{} is no cgroup (v2)", path.display())),
    };
    Ok(Place {
        parent: open_dir(&parent_path)?,
        parent_path,
        name: name.clone(),
    })
}

/// How old a cgroup has to be to count as left: by then its program was born in it.
const LEFT_AFTER: Duration = Duration::from_secs(60);

/// Removes what other launchers have left below `parent`, which were killed with their init: old
/// cgroups without members, named by a process that is gone.
pub(crate) fn sweep(parent: BorrowedFd<'_>, path: &Path) {
    // What cannot be listed or removed is no matter of this run's.
    let Ok(entries) = std::fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(is_left) {
            continue;
        }
        if let Ok(name) = CString::new(name.as_bytes()) {
            match remove_cgroup(parent, &name) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Whether it is the name of a run that began long ago, whose launcher is gone.
fn is_left(name: &str) -> bool {
    let Some((pid, began)) = name
        .strip_prefix("allgone-")
        .and_then(|n| n.split_once('-'))
    else {
        return false;
    };
    let (Ok(pid), Ok(began)) = (pid.parse(), u64::from_str_radix(began, 16)) else {
        return false;
    };
    pid > 0
        && (MonoNs(began) + LEFT_AFTER).has_passed()
        && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

/// Opens a directory.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
        .map_err(|e| SysError::path("open", path, e).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_names_of_dead_launchers_are_left() {
        let (this, nobody) = (std::process::id(), i32::MAX);
        let now = time::now().0;
        assert!(is_left(&format!("allgone-{nobody}-0")));
        assert!(!is_left(&format!("allgone-{nobody}-{now:x}")));
        for name in [
            format!("allgone-{this}-0"),
            format!("allgone-{nobody}"),
            format!("scenario-{nobody}-0"),
            "allgone-0-0".to_owned(),
            "allgone--1-0".to_owned(),
            format!("allgone-{nobody}-0-7"),
        ] {
            assert!(!is_left(&name), "{name}");
        }
    }
}
