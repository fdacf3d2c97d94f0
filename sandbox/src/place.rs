//! Where cgroups of a run are made: in this process's own.

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use allgone::SysError;
use allgone::layout::{Layout, Paths};
use allgone::sys::time;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

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

/// A cgroup of this process's own, below which another can be made.
pub(crate) fn place(layout: &Result<Layout, String>, name: &CString) -> Result<Place, String> {
    let layout = layout.as_ref().map_err(Clone::clone)?;
    let parent_path = layout.own_v2().map_err(|e| e.to_string())?;
    Ok(Place {
        parent: open_dir(&parent_path)?,
        parent_path,
        name: name.clone(),
    })
}

/// Opens a directory.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
        .map_err(|e| SysError::path("open", path, e).to_string())
}
