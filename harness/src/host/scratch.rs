//! A directory for the files of one program: its home, and where it keeps temporary things. It has
//! the name of its trial, so that it is found by that name and removed with all of it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat};
use nix::unistd::{UnlinkatFlags, fchown, unlinkat};

use crate::error::{SysError, Target};
use crate::sys::spawn::Credentials;

/// Where it is: every user may come here.
pub(crate) const PARENT: &str = "/tmp";

/// The directory of what is called `label`.
pub(crate) fn path(label: &str) -> PathBuf {
    Path::new(PARENT).join(label)
}

/// Makes it, for `user` alone. Errors: `EEXIST` something has its name.
pub(crate) fn make(label: &str, user: Option<Credentials>) -> Result<(), SysError> {
    let path = path(label);
    let failed = |e: &io::Error| SysError::io("mkdir", Target::Path(path.clone()), e);
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|e| failed(&e))?;
    if let Some(user) = user {
        let dir = open(None, &path).map_err(|e| SysError::path("open", &path, e))?;
        let (uid, gid) = (user.uid.into(), user.gid.into());
        fchown(&dir, Some(uid), Some(gid)).map_err(|e| SysError::path("chown", &path, e))?;
    }
    Ok(())
}

/// Removes `path` and all that is in it. False: something was added meanwhile. No link is followed,
/// and a tree may have any depth: its directories are moved up, one level at a time.
pub(super) fn remove(path: &Path) -> Result<bool, SysError> {
    let failed = |op| move |errno| SysError::path(op, path, errno);
    let top = match open(None, path) {
        Ok(top) => top,
        Err(Errno::ENOENT) => return Ok(true),
        // Its user has put something else in its place.
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            return match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(SysError::io("unlink", Target::Path(path.to_path_buf()), &e))
                }
                _ => Ok(true),
            };
        }
        Err(errno) => return Err(failed("open")(errno)),
    };
    let mut moved = 0u64;
    loop {
        let below = flatten(&top, &top, &mut moved).map_err(failed("empty"))?;
        if below.is_empty() {
            break;
        }
        for name in below {
            let child = match open(Some(top.as_fd()), name.as_c_str()) {
                Ok(child) => child,
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                Err(errno) => return Err(failed("open a directory in")(errno)),
            };
            flatten(&child, &top, &mut moved).map_err(failed("empty a directory in"))?;
            match unlinkat(&top, name.as_c_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => return Ok(false),
                Err(errno) => return Err(failed("remove a directory in")(errno)),
            }
        }
    }
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(e) => Err(SysError::io("rmdir", Target::Path(path.to_path_buf()), &e)),
    }
}

/// Opens a directory that is no link, and lets its owner do everything with it.
fn open<P: ?Sized + nix::NixPath>(at: Option<BorrowedFd<'_>>, name: &P) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = at.unwrap_or(nix::fcntl::AT_FDCWD);
    match openat(dir, name, flags, Mode::empty()) {
        // Only its owner, who is not root, is refused: the mode is the program's.
        Err(Errno::EACCES) => {
            let path_only = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
            let found = openat(dir, name, path_only | OFlag::O_CLOEXEC, Mode::empty())?;
            let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
            nix::sys::stat::fchmodat(
                nix::fcntl::AT_FDCWD,
                link.as_str(),
                Mode::S_IRWXU,
                nix::sys::stat::FchmodatFlags::FollowSymlink,
            )?;
            openat(dir, name, flags, Mode::empty())
        }
        other => {
            let opened = other?;
            match fchmod(&opened, Mode::S_IRWXU) {
                // A directory of another owner: what it refuses is seen below.
                Ok(()) | Err(Errno::EPERM) => Ok(opened),
                Err(errno) => Err(errno),
            }
        }
    }
}

/// Removes the files of `dir`. Its directories are moved to `top`, unless they are there; their
/// names in `top` are returned.
fn flatten(dir: &OwnedFd, top: &OwnedFd, moved: &mut u64) -> Result<Vec<std::ffi::CString>, Errno> {
    let same = std::os::fd::AsRawFd::as_raw_fd(dir) == std::os::fd::AsRawFd::as_raw_fd(top);
    let mut found = Vec::new();
    let mut list = Dir::from_fd(openat(
        dir,
        c".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?)?;
    let names: Result<Vec<_>, Errno> = list
        .iter()
        .map(|entry| entry.map(|entry| (entry.file_name().to_owned(), entry.file_type())))
        .collect();
    for (name, kind) in names? {
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let is_dir = match kind {
            Some(kind) => kind == Type::Directory,
            None => match fstatat(dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
                }
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
            },
        };
        if !is_dir {
            match unlinkat(dir, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        } else if same {
            found.push(name);
        } else {
            *moved += 1;
            let place =
                std::ffi::CString::new(format!(".moved-{moved}")).map_err(|_| Errno::EINVAL)?;
            // A directory that may not be written to cannot be moved, as it has to name its parent.
            open(Some(dir.as_fd()), name.as_c_str()).map(drop)?;
            match renameat(dir, name.as_c_str(), top, place.as_c_str()) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn everything_in_it_is_removed_and_nothing_that_it_names() {
        let outside = tempfile::tempdir().unwrap();
        let kept = outside.path().join("kept");
        fs::write(&kept, "x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir_all(home.join("a/b/c")).unwrap();
        fs::write(home.join("a/b/file"), "x").unwrap();
        symlink(outside.path(), home.join("a/link")).unwrap();
        symlink(outside.path(), home.join("link")).unwrap();
        fs::set_permissions(home.join("a/b"), fs::Permissions::from_mode(0o0)).unwrap();
        assert!(remove(&home).unwrap());
        assert!(!home.exists() && kept.exists());
        assert!(remove(&home).unwrap(), "what is gone is removed");
        symlink(outside.path(), &home).unwrap();
        assert!(remove(&home).unwrap());
        assert!(home.symlink_metadata().is_err() && kept.exists());
    }

    #[test]
    fn a_tree_may_be_deeper_than_there_are_descriptors_and_than_a_path_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        let mut at = open(None, &home).unwrap();
        for _ in 0..3_000 {
            nix::sys::stat::mkdirat(&at, c"deep", Mode::S_IRWXU).unwrap();
            at = open(Some(at.as_fd()), c"deep").unwrap();
        }
        drop(at);
        assert!(remove(&home).unwrap());
        assert!(!home.exists());
    }
}
