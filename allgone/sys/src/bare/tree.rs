//! Removing a cgroup with all below it, with a few descriptors and without memory.
//!
//! A workload that may make cgroups makes them as deep as it likes, so there is no recursion.
//! Nothing waits and nothing kills: what has members says `EBUSY`, and the caller decides. For
//! ordinary code there is `Cgroup::remove_tree` in `allgone`.
//!
//! Source: getdents64(2).

use core::ffi::CStr;

use super::call::{self, Fd};
use super::raw::Errno;

/// Room for directory entries, aligned as they are.
#[repr(align(8))]
struct Entries([u8; 2048]);

/// Removes the cgroup `name` in `parent` and all below it, leaves first. One that is not there is
/// no error. Errors: `EBUSY` one of them has members; what is below it or comes after it stays.
pub(crate) fn remove_tree(parent: Fd, name: &CStr) -> Result<(), Errno> {
    match remove(parent, name) {
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        other => return other,
    }
    let Ok(top) = call::open(parent, name, call::DIRECTORY) else {
        return remove(parent, name);
    };
    let below = remove_below(top);
    call::close(top);
    below.and_then(|()| remove(parent, name))
}

fn remove_below(top: Fd) -> Result<(), Errno> {
    let mut here = call::open(top, c".", call::DIRECTORY)?;
    let mut depth = 0u32;
    let done = loop {
        let step = next_dir(here, None, |name| match remove(here, name) {
            // As busy with children as with members.
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                let child = call::open(here, name, call::DIRECTORY)?;
                match next_dir(child, None, |_| ()) {
                    Ok(Some(())) => Ok(Some(child)),
                    _ => {
                        call::close(child);
                        Err(Errno::BUSY)
                    }
                }
            }
            other => other.map(|()| None),
        });
        match step {
            Ok(Some(Ok(Some(child)))) => {
                call::close(here);
                (here, depth) = (child, depth + 1);
            }
            Ok(Some(Ok(None))) => {}
            Ok(Some(Err(errno))) | Err(errno) => break Err(errno),
            Ok(None) if depth == 0 => break Ok(()),
            Ok(None) => match call::open(here, c"..", call::DIRECTORY) {
                Ok(parent) => {
                    call::close(here);
                    (here, depth) = (parent, depth - 1);
                }
                Err(errno) => break Err(errno),
            },
        }
    };
    call::close(here);
    done
}

fn remove(parent: Fd, name: &CStr) -> Result<(), Errno> {
    match call::remove_dir(parent, name) {
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        other => other,
    }
}

/// What a directory entry says.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a CStr,
    inode: u64,
}

/// Calls `on` with the first directory in `dir`, or the first behind the one with inode `after`.
/// `None`: there is none.
pub(crate) fn next_dir<T>(
    dir: Fd,
    after: Option<u64>,
    mut on: impl FnMut(&CStr) -> T,
) -> Result<Option<T>, Errno> {
    let listed = call::open(dir, c".", call::DIRECTORY)?;
    let (mut found, mut skipping) = (None, after.is_some());
    let read = each_dir(listed, |entry| {
        if skipping {
            skipping = after != Some(entry.inode);
            return false;
        }
        found = Some(on(entry.name));
        true
    });
    call::close(listed);
    read.map(|()| found)
}

/// Calls `on` with every directory in `dir`, from where its offset is, until it returns true.
pub(crate) fn each_dir(dir: Fd, mut on: impl FnMut(&Entry<'_>) -> bool) -> Result<(), Errno> {
    let mut room = Entries([0; 2048]);
    loop {
        let filled = call::entries(dir, &mut room.0)?;
        let mut rest = room.0.get(..filled).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(());
        }
        while let Some((entry, next)) = first_entry(rest) {
            if entry.is_some_and(|entry| on(&entry)) {
                return Ok(());
            }
            rest = next;
        }
    }
}

/// The first `struct linux_dirent64`, if it is a directory's other than `.` and `..`, and what is
/// behind it.
fn first_entry(entries: &[u8]) -> Option<(Option<Entry<'_>>, &[u8])> {
    const LENGTH: usize = 16;
    const KIND: usize = 18;
    const NAME: usize = 19;
    const DIRECTORY: u8 = 4;
    let inode = entries.first_chunk::<8>()?;
    let length = [*entries.get(LENGTH)?, *entries.get(LENGTH + 1)?];
    let (entry, rest) = entries.split_at_checked(usize::from(u16::from_ne_bytes(length)))?;
    let name = CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()?;
    let real = *entry.get(KIND)? == DIRECTORY && name != c"." && name != c"..";
    let entry = Entry {
        name,
        inode: u64::from_ne_bytes(*inode),
    };
    Some((real.then_some(entry), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_deep_and_wide_tree_is_removed_with_a_few_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        for wide in 0..40 {
            fs::create_dir_all(dir.path().join(format!("top/{wide}/a/b"))).unwrap();
        }
        let mut deep = fs::File::open(dir.path().join("top")).unwrap();
        for _ in 0..300 {
            nix::sys::stat::mkdirat(&deep, "deeper-and-deeper", nix::sys::stat::Mode::S_IRWXU)
                .unwrap();
            let flags = nix::fcntl::OFlag::O_DIRECTORY;
            let next = nix::fcntl::openat(
                &deep,
                "deeper-and-deeper",
                flags,
                nix::sys::stat::Mode::empty(),
            );
            deep = next.unwrap().into();
        }
        let parent = fs::File::open(dir.path()).unwrap();
        assert_eq!(remove_tree(parent.as_raw_fd(), c"top"), Ok(()));
        assert!(!dir.path().join("top").exists());
    }

    #[test]
    fn directories_are_found_and_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("one")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let open = fs::File::open(dir.path()).unwrap();
        let name = next_dir(open.as_raw_fd(), None, |name| name.to_owned()).unwrap();
        assert_eq!(name.as_deref(), Some(c"one"));
        let inode = fs::metadata(dir.path().join("one")).unwrap();
        let inode = std::os::unix::fs::MetadataExt::ino(&inode);
        let next = next_dir(open.as_raw_fd(), Some(inode), |name| name.to_owned());
        assert_eq!(next.unwrap(), None);
    }
}
