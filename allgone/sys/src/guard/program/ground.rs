//! The cgroups that are the guard's to end: children of the base whose names begin with its prefix.
//!
//! Trees are walked without recursion and without memory: a workload that may make cgroups makes
//! them as deep as it likes. Sources: Documentation/admin-guide/cgroup-v2.rst, getdents64(2).

use core::ffi::CStr;

use super::call::{self, Fd};
use super::process;
use super::raw::Errno;
use super::wire::born;

/// What is the guard's.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    pub(crate) prefix: &'static CStr,
    /// The guard's own cgroup, which also begins with the prefix.
    pub(crate) own: &'static CStr,
}

/// Room for directory entries, aligned as they are.
#[repr(align(8))]
struct Entries([u8; 2048]);

impl Ground {
    /// Kills whatever is there and removes what is empty. Returns how many are left. Errors: the
    /// base cannot be read.
    pub(crate) fn clear_once(self) -> Result<u32, Errno> {
        // All are killed before any is waited for.
        self.each(|base, name| u32::from(kill_tree(base, name).is_err()))?;
        self.each(|base, name| u32::from(remove_tree(base, name).is_err()))
    }

    /// Whether there is nothing. False also if that is not known.
    pub(crate) fn is_clear(self) -> bool {
        self.each(|_, _| 1) == Ok(0)
    }

    /// The sum of what `on` says of each.
    fn each(self, mut on: impl FnMut(Fd, &CStr) -> u32) -> Result<u32, Errno> {
        // A description of its own: the host's has one offset for all who read it.
        let base = call::open(born::BASE, c".", call::DIRECTORY)?;
        let mut sum = 0;
        let read = each_dir(base, |entry| {
            let its = entry.name.to_bytes().starts_with(self.prefix.to_bytes());
            if its && entry.name != self.own {
                sum += on(base, entry.name);
            }
            false
        });
        call::close(base);
        read.map(|()| sum)
    }

    /// Leaves the guard's own cgroup and removes it. False: it is still there.
    pub(crate) fn leave(self) -> bool {
        let base = call::open(born::BASE, c"cgroup.procs", call::WRITE_ONLY);
        // A cgroup with controllers enabled for its children takes no process; the host's was good
        // enough for the host.
        let moved = base.is_ok_and(enter)
            || enter(born::HOME)
            || call::open(born::BASE, c"../cgroup.procs", call::WRITE_ONLY).is_ok_and(enter);
        moved
            && matches!(
                call::remove_dir(born::BASE, self.own),
                Ok(()) | Err(Errno::NOENT)
            )
    }
}

fn enter(procs: Fd) -> bool {
    call::write(procs, b"0").is_ok()
}

/// SIGKILL to every process in a cgroup and below.
fn kill_tree(parent: Fd, name: &CStr) -> Result<(), Errno> {
    let top = call::open(parent, name, call::DIRECTORY)?;
    let killed = match call::open(top, c"cgroup.kill", call::WRITE_ONLY) {
        Ok(file) => {
            let killed = call::write(file, b"1").map(|_| ());
            call::close(file);
            killed
        }
        // Linux 5.14 has it first.
        Err(Errno::NOENT) => kill_listed(top),
        Err(errno) => Err(errno),
    };
    call::close(top);
    killed
}

/// The same, process by process, for kernels without `cgroup.kill`. One pass: who forks meanwhile
/// is for the next.
fn kill_listed(top: Fd) -> Result<(), Errno> {
    let mut here = call::open(top, c".", call::DIRECTORY)?;
    kill_members(here)?;
    let (mut depth, mut after) = (0u32, None);
    loop {
        match next_dir(here, after, |name| call::open(here, name, call::DIRECTORY))? {
            Some(Ok(child)) => {
                kill_members(child)?;
                call::close(here);
                (here, depth, after) = (child, depth + 1, None);
            }
            // It has gone, and all that was in it.
            Some(Err(_)) | None if depth == 0 => break,
            Some(Err(_)) | None => {
                after = Some(call::inode(here)?);
                let parent = call::open(here, c"..", call::DIRECTORY)?;
                call::close(here);
                (here, depth) = (parent, depth - 1);
            }
        }
    }
    call::close(here);
    Ok(())
}

fn kill_members(dir: Fd) -> Result<(), Errno> {
    const SIGKILL: i32 = 9;
    let file = call::open(dir, c"cgroup.procs", call::READ_ONLY)?;
    let mut room = [0u8; 1024];
    let mut pid = 0i32;
    loop {
        match call::read(file, &mut room) {
            Ok(0) | Err(_) => break,
            Ok(filled) => {
                for byte in room.iter().take(filled) {
                    if byte.is_ascii_digit() {
                        let digit = i32::from(*byte - b'0');
                        pid = pid.wrapping_mul(10).wrapping_add(digit);
                    } else {
                        // 0 stands for one of another PID namespace; to kill it would be to kill
                        // this process's own group.
                        if pid > 0 {
                            match process::kill(pid, SIGKILL) {
                                Ok(()) | Err(_) => {}
                            }
                        }
                        pid = 0;
                    }
                }
            }
        }
    }
    call::close(file);
    Ok(())
}

/// Removes a cgroup and all below it, leaves first. Errors: `EBUSY` one has members.
fn remove_tree(parent: Fd, name: &CStr) -> Result<(), Errno> {
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
struct Entry<'a> {
    name: &'a CStr,
    inode: u64,
}

/// Calls `on` with the first directory in `dir`, or the first behind the one with inode `after`.
/// `None`: there is none.
fn next_dir<T>(
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
fn each_dir(dir: Fd, mut on: impl FnMut(&Entry<'_>) -> bool) -> Result<(), Errno> {
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
