//! Walking and removing a tree of directories of any depth with a few descriptors. A workload that
//! may create cgroups can nest them as deep as it likes, and can give them names that are not
//! UTF-8.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Cgroup, CgroupError, DIRECTORY};
use crate::error::SysError;

/// Everything below a cgroup, each before what is below it; see [`Cgroup::descendants`].
#[derive(Debug)]
pub struct Descendants {
    /// The directory whose children come next.
    here: Cgroup,
    /// From the top to `here`: the names in each directory that have not been visited yet.
    levels: Vec<Vec<CString>>,
    /// The cgroup that was returned last. Its children are listed only when the next one is asked
    /// for, so that a member that moves from there into a new child meanwhile is found in one or
    /// the other.
    last: Option<Cgroup>,
}

impl Descendants {
    pub(super) fn of(top: &Cgroup) -> Result<Self, CgroupError> {
        Ok(Self {
            here: top.try_clone()?,
            levels: Vec::new(),
            last: Some(top.try_clone()?),
        })
    }

    fn step(&mut self) -> Result<Option<Cgroup>, CgroupError> {
        if let Some(last) = self.last.take() {
            let top = self.levels.is_empty();
            match last.child_names() {
                Ok(names) if top || !names.is_empty() => {
                    self.here = last;
                    self.levels.push(names);
                }
                Ok(_) => {}
                // Removed meanwhile, so it has no children. For the top itself this is an error.
                Err(e) if !top && e.errno() == Some(Errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        while let Some(names) = self.levels.last_mut() {
            let Some(name) = names.pop() else {
                self.levels.pop();
                if !self.levels.is_empty() {
                    self.here = self.here.above()?;
                }
                continue;
            };
            match self.here.child(OsStr::from_bytes(name.as_bytes())) {
                Ok(child) => {
                    self.last = Some(child.try_clone()?);
                    return Ok(Some(child));
                }
                Err(e) if e.errno() == Some(Errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }
}

impl Iterator for Descendants {
    type Item = Result<Cgroup, CgroupError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            // What was not read is unknown; it must not pass for the end of the tree.
            self.levels.clear();
            self.last = None;
        }
        step.transpose()
    }
}

impl Cgroup {
    /// The directory that this one is in, whatever has become of its path.
    fn above(&self) -> Result<Self, CgroupError> {
        let mut path: PathBuf = self.path.clone();
        path.pop();
        let dir = openat(&self.dir, "..", DIRECTORY, Mode::empty())
            .map_err(|e| SysError::path("open", &path, e))?;
        Ok(Self { dir, path })
    }

    /// The names of the children.
    pub(crate) fn child_names(&self) -> Result<Vec<CString>, CgroupError> {
        directories(self.dir.as_fd()).map_err(|e| SysError::path("readdir", &self.path, e).into())
    }
}

/// Removes the directory behind `dir`, whose name in its parent is `name`, by the parent's
/// descriptor: its path may be longer than a path may be, or lead elsewhere by now.
///
/// Errors: `ENOENT` it has been removed, though another may have its name by now; as rmdir(2).
pub(super) fn remove_named(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent: OwnedFd = openat(dir, "..", flags, Mode::empty())?;
    let there = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let own = fstat(dir)?;
    if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino) {
        return Err(Errno::ENOENT);
    }
    unlinkat(&parent, name, UnlinkatFlags::RemoveDir)
}

/// Removes every directory below `top`, leaves first. One that disappears meanwhile counts as
/// removed. Errors: `EBUSY` one has members; as rmdir(2).
pub(super) fn remove_below(top: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut here = openat(top, ".", DIRECTORY, Mode::empty())?;
    // From `top` to `here`: the names in each directory that are still to be removed, the one that
    // leads down at the end.
    let mut levels = vec![directories(here.as_fd())?];
    while let Some(names) = levels.last_mut() {
        let Some(name) = names.last() else {
            levels.pop();
            let Some(parent) = levels.last_mut() else {
                break;
            };
            here = openat(&here, "..", DIRECTORY, Mode::empty())?;
            if let Some(emptied) = parent.pop() {
                remove(here.as_fd(), &emptied)?;
            }
            continue;
        };
        match remove(here.as_fd(), name) {
            Ok(()) => {
                names.pop();
            }
            // rmdir(2) of a cgroup with children says `EBUSY`, as of one with members.
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => {
                match openat(&here, name.as_c_str(), DIRECTORY, Mode::empty()) {
                    Ok(child) => match directories(child.as_fd()) {
                        Ok(below) if below.is_empty() => return Err(Errno::EBUSY),
                        Ok(below) => {
                            here = child;
                            levels.push(below);
                        }
                        // Removed since it was opened: that of `top` would mean something else.
                        Err(Errno::ENOENT) => {
                            names.pop();
                        }
                        Err(errno) => return Err(errno),
                    },
                    Err(Errno::ENOENT) => {
                        names.pop();
                    }
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn remove(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Names of the directories in `dir`.
fn directories(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // A new open file description: reading a shared one would move its offset.
    let mut entries = Dir::openat(dir, ".", DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_goes_whole_and_a_wide_one_too() {
        let dir = tempfile::tempdir().unwrap();
        for wide in 0..50 {
            fs::create_dir_all(dir.path().join(format!("{wide}/a/b"))).unwrap();
            fs::create_dir_all(dir.path().join(format!("{wide}/c"))).unwrap();
        }
        remove_below(fs::File::open(dir.path()).unwrap().as_fd()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn depth_costs_no_descriptors_and_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let top = Cgroup::open(dir.path()).unwrap();
        let mut here = top.try_clone().unwrap();
        // Deeper than a path may be long.
        for _ in 0..300 {
            here = here.create("deeper-and-deeper").unwrap();
        }
        assert_eq!(top.descendants().unwrap().map(Result::unwrap).count(), 300);
        // The lowest by itself, and then the others.
        here.remove_tree().unwrap();
        assert_eq!(top.descendants().unwrap().map(Result::unwrap).count(), 299);
        remove_below(top.as_fd()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_walk_visits_each_directory_once_and_parents_first() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/b/c", "a/d", "e"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("a/file"), "").unwrap();
        let top = Cgroup::open(dir.path()).unwrap();
        let walk = top
            .descendants()
            .unwrap()
            .map(|found| found.unwrap().path().to_path_buf());
        let seen: Vec<PathBuf> = walk.collect();
        for (at, path) in seen.iter().enumerate() {
            let parent = path.parent().unwrap();
            assert!(
                parent == dir.path() || seen[..at].contains(&parent.to_path_buf()),
                "{seen:?}"
            );
        }
        let mut names: Vec<PathBuf> = seen;
        names.sort();
        let all = ["a", "a/b", "a/b/c", "a/d", "e"].map(|path| dir.path().join(path));
        assert_eq!(names, all);
    }

    #[test]
    fn what_is_made_while_it_is_looked_at_is_walked_too() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let top = Cgroup::open(dir.path()).unwrap();
        let mut walk = top.descendants().unwrap();
        let first = walk.next().unwrap().unwrap();
        first.create("new").unwrap();
        assert_eq!(
            walk.next().unwrap().unwrap().path(),
            dir.path().join("a/new")
        );
        fs::remove_dir(dir.path().join("a/new")).unwrap();
        assert!(
            walk.next().is_none(),
            "what goes meanwhile has nothing below it"
        );
    }

    #[test]
    fn a_name_that_is_no_text_is_not_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(b"\xff\xfe");
        fs::create_dir(dir.path().join(name)).unwrap();
        let top = Cgroup::open(dir.path()).unwrap();
        let path = dir.path().join(name);
        assert_eq!(
            top.children().unwrap().next().unwrap().unwrap().path(),
            path
        );
        assert_eq!(
            top.descendants().unwrap().next().unwrap().unwrap().path(),
            path
        );
        remove_below(top.as_fd()).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn another_with_the_same_name_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let old = Cgroup::open(dir.path()).unwrap().create("name").unwrap();
        fs::rename(dir.path().join("name"), dir.path().join("elsewhere")).unwrap();
        fs::create_dir(dir.path().join("name")).unwrap();
        let (_, error) = old.remove_tree().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert!(dir.path().join("name").exists());
    }

    #[test]
    fn what_is_no_directory_stops_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/file"), "").unwrap();
        let top = fs::File::open(dir.path()).unwrap();
        assert_eq!(remove_below(top.as_fd()), Err(Errno::EBUSY));
    }
}
