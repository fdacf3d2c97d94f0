//! `--keep PATH=DEST`: what the program has made in a private place is copied out, after it is
//! proved that no process is left that could change it meanwhile.
//!
//! The descriptor of the private file system comes from init and outlives the namespace. Only bytes
//! and names are taken, of regular files and directories: no owner, no attribute, no set-id bit, no
//! link and no special file. Destinations are looked up before the start.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use allgone::SysError;
use allgone::sys::guard::receive;
use allgone::sys::spawn::launch::{FileStep, Need, Setup};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{AccessFlags, faccessat};

use super::copyout::CopyOut;
use crate::error::RunError;

/// What is to be kept, and the way to it.
#[derive(Debug)]
pub(crate) struct Keep {
    /// The launcher's end, on which init's descriptor waits.
    ours: OwnedFd,
    theirs: OwnedFd,
    wanted: Vec<Wanted>,
    /// How much may be copied, in bytes.
    space: u64,
}

#[derive(Debug)]
struct Wanted {
    /// As it was asked for.
    path: PathBuf,
    /// Below the private file system.
    inside: PathBuf,
    parent: OwnedFd,
    name: OsString,
}

impl Keep {
    /// Looks up all destinations. `inside`: where a path of the program's is in the private file
    /// system, if it is there. Errors: a destination that exists already, or cannot be made.
    pub(crate) fn of(
        asked: &[(PathBuf, PathBuf)],
        inside: impl Fn(&Path) -> Option<PathBuf>,
        space: u64,
    ) -> Result<Option<Self>, RunError> {
        if asked.is_empty() {
            return Ok(None);
        }
        let wanted = asked
            .iter()
            .map(|(path, dest)| Wanted::of(path, dest, inside(path)))
            .collect::<Result<_, _>>()?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|e| SysError::plain("socketpair", e))?;
        Ok(Some(Self {
            ours,
            theirs,
            wanted,
            space,
        }))
    }

    /// Init gives away its descriptor.
    pub(crate) fn step(&self) -> (Setup<'_>, Need) {
        let lend = Setup::Files(FileStep::Lend(self.theirs.as_fd()));
        (lend, Need::Required)
    }

    /// Copies everything that is wanted, as far as it can be. After the proof. Errors: the first
    /// path of which something could not be copied, with what.
    pub(crate) fn copy(&self) -> Result<(), RunError> {
        let (_, from) = receive(self.ours.as_fd(), &mut [0; 1])
            .map_err(|e| SysError::plain("receive the private files from init", e))?;
        let from =
            from.ok_or_else(|| SysError::plain("receive the private files", Errno::EBADF))?;
        let mut first = Ok(());
        let mut left = self.space;
        for wanted in &self.wanted {
            let copied = wanted.copy(&from, &mut left);
            first = first.and(copied);
        }
        first
    }
}

impl Wanted {
    fn of(path: &Path, dest: &Path, inside: Option<PathBuf>) -> Result<Self, RunError> {
        let refused = |why: String| RunError::Keep {
            path: path.to_owned(),
            why,
        };
        let inside = inside
            .ok_or_else(|| refused("it is not one of the program's private places".to_owned()))?;
        let name = dest
            .file_name()
            .ok_or_else(|| refused(format!("{dest:?} has no name")))?;
        let above = dest.parent().filter(|dir| !dir.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let told = |e: Errno| refused(format!("{above:?}: {e}"));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = nix::fcntl::open(above, flags, Mode::empty()).map_err(told)?;
        let may = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(&parent, ".", may, AtFlags::AT_EACCESS).map_err(told)?;
        match fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            Ok(_) => return Err(refused(format!("{dest:?} exists already"))),
            Err(e) => return Err(refused(format!("{dest:?}: {e}"))),
        }
        Ok(Self {
            path: path.to_owned(),
            inside,
            parent,
            name: name.to_owned(),
        })
    }

    fn copy(&self, from: &OwnedFd, left: &mut u64) -> Result<(), RunError> {
        let refused = |why: String| RunError::Keep {
            path: self.path.clone(),
            why,
        };
        let name = self.inside.file_name().unwrap_or(OsStr::new("."));
        let above = self
            .inside
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty());
        let dir = match above {
            None => from.try_clone().map_err(|e| refused(e.to_string()))?,
            Some(above) => {
                let resolve = ResolveFlag::RESOLVE_BENEATH
                    | ResolveFlag::RESOLVE_NO_SYMLINKS
                    | ResolveFlag::RESOLVE_NO_MAGICLINKS;
                let how = OpenHow::new()
                    .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
                    .resolve(resolve);
                openat2(from, above, how).map_err(|e| refused(e.to_string()))?
            }
        };
        let mut copy = CopyOut::new(*left);
        copy.any(dir.as_fd(), name, self.parent.as_fd(), &self.name);
        *left = copy.left();
        match copy.refusals() {
            None => Ok(()),
            Some(why) => Err(refused(why)),
        }
    }
}
