//! Removing a tree of directories of any depth with two descriptors: a workload that may make
//! cgroups makes them as deep as it likes.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::DIRECTORY;

/// Removes every directory below `top`, leaves first. What goes meanwhile is done. Errors: `EBUSY`
/// somebody lives in one; as rmdir(2).
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
            // A cgroup with children is as busy as one with members.
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => match openat(&here, name.as_c_str(), DIRECTORY, Mode::empty()) {
                Ok(child) => {
                    let below = directories(child.as_fd())?;
                    if below.is_empty() {
                        return Err(Errno::EBUSY);
                    }
                    here = child;
                    levels.push(below);
                }
                Err(Errno::ENOENT) => {
                    names.pop();
                }
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn remove(dir: BorrowedFd<'_>, name: &CString) -> Result<(), Errno> {
    match unlinkat(dir, name.as_c_str(), UnlinkatFlags::RemoveDir) {
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
        let top = fs::File::open(dir.path()).unwrap();
        let mut here: std::os::fd::OwnedFd = top.try_clone().unwrap().into();
        // Deeper than a path may be long.
        let name = "deeper-and-deeper";
        for _ in 0..300 {
            nix::sys::stat::mkdirat(&here, name, Mode::from_bits_truncate(0o755)).unwrap();
            here = openat(&here, name, DIRECTORY, Mode::empty()).unwrap();
        }
        remove_below(top.as_fd()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
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
