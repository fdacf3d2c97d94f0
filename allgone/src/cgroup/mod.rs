//! A handle on one cgroup directory (v2): create, read, kill, freeze, remove.
//!
//! Everything goes through a directory descriptor, so a cgroup that was removed and made again
//! under the same name is not taken for the old one. Nothing here retries, waits or guesses: a file
//! that cannot be read is an error, never "empty".
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst.

mod census;
mod parse;
mod patient;
mod remove;
mod tree;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use thiserror::Error;

use crate::error::SysError;

pub use census::Census;
pub use parse::{Events, Members, parse_events, parse_members};
pub use patient::remove_when_empty;
pub use remove::{GRACE, remove_child_when_empty, remove_v1_when_empty};
pub use tree::Descendants;

/// A failed operation on a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A file had a content that this version does not understand.
    #[error("could not understand {path}: {content:?}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it said.
        content: String,
    },
}

impl CgroupError {
    /// The kernel's answer, if that is what went wrong.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Sys(e) => Some(e.errno),
            Self::Malformed { .. } => None,
        }
    }
}

impl crate::error::Reason for CgroupError {
    fn errno(&self) -> Option<Errno> {
        Self::errno(self)
    }
}

/// An open cgroup directory.
#[derive(Debug)]
pub struct Cgroup {
    dir: OwnedFd,
    path: PathBuf,
}

impl Cgroup {
    /// Opens an existing directory.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CgroupError> {
        let path = path.into();
        let dir = nix::fcntl::open(&path, DIRECTORY, Mode::empty())
            .map_err(|e| SysError::path("open", &path, e))?;
        Ok(Self { dir, path })
    }

    /// Makes a child and opens it. `EEXIST` is an error: a name is never shared.
    pub fn create(&self, name: &str) -> Result<Self, CgroupError> {
        let path = self.path.join(name);
        mkdirat(&self.dir, name, Mode::from_bits_truncate(0o755))
            .map_err(|e| SysError::path("mkdir", &path, e))?;
        self.child(name).inspect_err(|_| {
            // It was just created, so it is empty. The first error is the one to report.
            match self.remove_child(name) {
                Ok(()) | Err(_) => {}
            }
        })
    }

    /// Opens a child.
    pub fn child<N: AsRef<OsStr> + ?Sized>(&self, name: &N) -> Result<Self, CgroupError> {
        let name = name.as_ref();
        let path = self.path.join(name);
        let dir = openat(&self.dir, name, DIRECTORY, Mode::empty())
            .map_err(|e| SysError::path("open", &path, e))?;
        Ok(Self { dir, path })
    }

    /// A second handle on the same directory.
    pub fn try_clone(&self) -> Result<Self, CgroupError> {
        let dir = self
            .dir
            .try_clone()
            .map_err(|e| SysError::io("dup", crate::Target::Path(self.path.clone()), &e))?;
        Ok(Self {
            dir,
            path: self.path.clone(),
        })
    }

    /// Where it is mounted, for messages and for interfaces that only take paths.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The inode number, which is the kernel's id of the cgroup.
    pub fn id(&self) -> Result<u64, CgroupError> {
        Ok(fstat(&self.dir)
            .map_err(|e| SysError::path("fstat", &self.path, e))?
            .st_ino)
    }

    /// Opens one of its files.
    pub fn open_file(&self, name: &str, flags: OFlag) -> Result<File, CgroupError> {
        openat(&self.dir, name, flags | OFlag::O_CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|e| SysError::path("open", self.path.join(name), e).into())
    }

    /// Reads one of its files whole.
    pub fn read(&self, name: &str) -> Result<String, CgroupError> {
        let mut content = String::new();
        self.open_file(name, OFlag::O_RDONLY)?
            .read_to_string(&mut content)
            .map_err(|e| SysError::io("read", crate::Target::Path(self.path.join(name)), &e))?;
        Ok(content)
    }

    /// Writes `value` to one of its files in one `write(2)`.
    pub fn write(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        self.control(name)?.write(value)
    }

    /// Opens one of its files for writing, once or many times.
    pub fn control(&self, name: &str) -> Result<ControlFile, CgroupError> {
        Ok(ControlFile {
            file: self.open_file(name, OFlag::O_WRONLY)?,
            path: self.path.join(name),
        })
    }

    /// Opens `cgroup.events` for polling: read it through [`EventsFile::read`] before every wait.
    pub fn events_file(&self) -> Result<EventsFile, CgroupError> {
        Ok(EventsFile {
            file: self.open_file("cgroup.events", OFlag::O_RDONLY)?,
            path: self.path.join("cgroup.events"),
        })
    }

    /// Reads `cgroup.events` once.
    pub fn events(&self) -> Result<Events, CgroupError> {
        self.events_file()?.read()
    }

    /// The processes listed in `cgroup.procs` (this cgroup alone).
    ///
    /// Members that the reader's PID namespace cannot name are counted in [`Members::foreign`];
    /// they are listed as pid 0 and must never be signalled. Errors: `EOPNOTSUPP` in a threaded
    /// cgroup, `ENODEV` after removal.
    pub fn procs(&self) -> Result<Members, CgroupError> {
        let content = self.read("cgroup.procs")?;
        parse_members(&content).ok_or_else(|| CgroupError::Malformed {
            path: self.path.join("cgroup.procs"),
            content,
        })
    }

    /// The processes of this cgroup and of all its descendants. A child that disappears while the
    /// tree is walked is left out; that is a proof that it had no members. A threaded child is left
    /// out, too: its processes are listed by the domain above it. Errors: as [`Cgroup::procs`].
    pub fn procs_recursive(&self) -> Result<Members, CgroupError> {
        let mut all = self.procs()?;
        for child in self.descendants()? {
            match child?.procs() {
                Ok(members) => all.extend(members),
                Err(e)
                    if matches!(
                        e.errno(),
                        Some(Errno::ENODEV | Errno::ENOENT | Errno::EOPNOTSUPP)
                    ) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }

    /// Opens the children, one after the other, so that any number of them needs one descriptor.
    /// One that disappears meanwhile is left out.
    pub fn children(
        &self,
    ) -> Result<impl Iterator<Item = Result<Self, CgroupError>> + '_, CgroupError> {
        let names = self.child_names()?.into_iter();
        Ok(names.filter_map(
            |name| match self.child(OsStr::from_bytes(name.as_bytes())) {
                Err(e) if e.errno() == Some(Errno::ENOENT) => None,
                opened => Some(opened),
            },
        ))
    }

    /// Opens everything below, one after the other, each before what is below it. A tree of any
    /// depth and width needs a few descriptors. One that disappears meanwhile is left out.
    ///
    /// After an error it ends: everything that it has not returned is unknown.
    pub fn descendants(&self) -> Result<Descendants, CgroupError> {
        Descendants::of(self)
    }

    /// Writes `1` to `cgroup.kill`: SIGKILL to every process of the subtree, those being forked
    /// included. Issued, not dead.
    ///
    /// Kernel: 5.14 (661ee6280931). Errors: `ENOENT` before 5.14, `EOPNOTSUPP` threaded, `ENODEV`
    /// removed, `EACCES`.
    pub fn kill(&self) -> Result<(), CgroupError> {
        self.write("cgroup.kill", "1")
    }

    /// Writes `cgroup.freeze`. A request; [`Events::frozen`] says when it is done. Kernel: 5.2.
    pub fn freeze(&self, on: bool) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", if on { "1" } else { "0" })
    }

    /// Removes a child directory. Errors: `EBUSY` it is populated, or has children; `ENOENT` it has
    /// been removed already.
    pub fn remove_child(&self, name: &str) -> Result<(), CgroupError> {
        unlinkat(&self.dir, name, UnlinkatFlags::RemoveDir)
            .map_err(|e| SysError::path("rmdir", self.path.join(name), e).into())
    }

    /// Removes every descendant, leaves first, in a tree of any depth. Does not wait and does not
    /// kill. Errors: `EBUSY` one has members.
    pub fn remove_descendants(&self) -> Result<(), CgroupError> {
        tree::remove_below(self.dir.as_fd())
            .map_err(|e| SysError::path("remove what is below", &self.path, e).into())
    }

    /// Removes this directory, and before it every descendant, leaves first. Does not wait and does
    /// not kill.
    ///
    /// Errors: `EBUSY` one has members; `ENOENT` it is gone, though another may have its name by
    /// now.
    pub fn remove_tree(self) -> Result<(), (Self, CgroupError)> {
        let below = || -> Result<(), CgroupError> {
            self.remove_descendants()?;
            let name = self.path.file_name().ok_or(Errno::EINVAL);
            name.and_then(|name| tree::remove_named(self.dir.as_fd(), name))
                .map_err(|e| SysError::path("rmdir", &self.path, e).into())
        };
        below().map_err(|e| (self, e))
    }

    /// Hands directory and process files to `uid`, so that a delegatee may make children and move
    /// its own processes.
    pub fn delegate(&self, uid: u32, gid: u32) -> Result<(), CgroupError> {
        let (uid, gid) = (Some(uid.into()), Some(gid.into()));
        for name in [
            ".",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            nix::unistd::fchownat(&self.dir, name, uid, gid, AtFlags::empty())
                .map_err(|e| SysError::path("chown", self.path.join(name), e))?;
        }
        Ok(())
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

const DIRECTORY: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_RDONLY)
    .union(OFlag::O_CLOEXEC);

/// One of a cgroup's files, open for writing.
///
/// It is worth opening before the cgroup has members. Opening a file looks it up, and a member that
/// creates directories in a cgroup keeps that directory locked (`path_openat()` waits for what
/// `filename_create()` holds, and that for `cgroup_mutex`): with 1 000 such tasks, one `open` was
/// seen to wait for more than ten seconds. A write through an open descriptor needs no look-up.
#[derive(Debug)]
pub struct ControlFile {
    file: File,
    path: PathBuf,
}

impl ControlFile {
    /// Opens a file by its path, in any hierarchy.
    pub fn open(path: PathBuf) -> Result<Self, CgroupError> {
        let file = File::options().write(true).open(&path);
        let file = file.map_err(|e| SysError::io("open", crate::Target::Path(path.clone()), &e))?;
        Ok(Self { file, path })
    }

    /// Writes `value` in one piece. Errors: those of the file; `ENODEV` the cgroup has been
    /// removed.
    pub fn write(&self, value: &str) -> Result<(), CgroupError> {
        nix::unistd::write(&self.file, value.as_bytes())
            .map_err(|e| SysError::path("write to", &self.path, e))?;
        Ok(())
    }
}

/// An open `cgroup.events`, read again and again through one descriptor.
///
/// Each read also resets what `poll(2)` compares with (`kernfs_generic_poll()`, fs/kernfs/file.c),
/// so it has to precede every wait.
#[derive(Debug)]
pub struct EventsFile {
    file: File,
    path: PathBuf,
}

impl EventsFile {
    /// Opens it below the directory `cgroup`, by path. Errors: `ENOENT` there is no such cgroup any
    /// more.
    pub fn open(cgroup: &Path) -> Result<Self, CgroupError> {
        let path = cgroup.join("cgroup.events");
        let file = File::open(&path)
            .map_err(|e| SysError::io("open", crate::Target::Path(path.clone()), &e))?;
        Ok(Self { file, path })
    }

    /// Reads the state as it is now, from offset 0.
    ///
    /// Errors: `ENODEV` the cgroup has been removed: a verdict of its own, neither empty nor
    /// populated.
    pub fn read(&self) -> Result<Events, CgroupError> {
        // The file is about 20 bytes; a fixed buffer keeps the read free of allocation.
        let mut buf = [0u8; 128];
        let n = crate::error::retry_eintr(|| nix::sys::uio::pread(&self.file, &mut buf, 0))
            .map_err(|e| SysError::path("read", &self.path, e))?;
        std::str::from_utf8(&buf[..n])
            .ok()
            .and_then(parse_events)
            .ok_or_else(|| CgroupError::Malformed {
                path: self.path.clone(),
                content: String::from_utf8_lossy(&buf[..n]).into_owned(),
            })
    }
}

impl AsFd for EventsFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
