//! Mounts in namespaces of the process's own: they need no privilege, and end with it.
//!
//! Sources: user_namespaces(7), mount_namespaces(7), cgroup_namespaces(7).

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, getegid, geteuid, mkdir};

use super::own_cgroup::decimal;

/// A directory that is there wherever scripts are played. What is mounted on it hides it from this
/// process alone.
const PLACE: &CStr = c"/proc";
/// For each file system: enough for directories, and not enough to matter.
const SMALL: &CStr = c"size=1m,nr_inodes=2048,mode=755";

/// `NAME_MAX` is 255.
const LONG_NAME: &CStr = c"a-directory-with-a-name-that-is-as-long-as-names-are-in-generated-code-\
so-that-a-few-dozen-of-them-make-a-path-that-is-longer-than-the-kernel-takes-in-one-piece-which-is-\
four-thousand-and-ninety-six-bytes";

pub(super) fn mount_cgroup2() -> Result<(), Errno> {
    enter(CloneFlags::CLONE_NEWCGROUP)?;
    let none: Option<&CStr> = None;
    mount(none, PLACE, Some(c"cgroup2"), MsFlags::empty(), none)?;
    // Its own cgroup is the root of what it sees.
    for way in [
        c"/proc/cgroup.procs",
        c"/proc/../cgroup.procs",
        c"/proc/../control/cgroup.procs",
    ] {
        match open(way, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            .and_then(|file| nix::unistd::write(&file, b"0"))
        {
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

pub(super) fn mount_inside(count: u32) -> Result<(), Errno> {
    enter(CloneFlags::empty())?;
    mount_small(PLACE)?;
    chdir(PLACE)?;
    for _ in 1..count {
        mkdir(c"below", Mode::from_bits_truncate(0o755))?;
        mount_small(c"below")?;
        chdir(c"below")?;
    }
    Ok(())
}

pub(super) fn enter_deep_directory(depth: u32) -> Result<(), Errno> {
    enter(CloneFlags::empty())?;
    mount_small(PLACE)?;
    chdir(PLACE)?;
    for _ in 0..depth {
        mkdir(LONG_NAME, Mode::from_bits_truncate(0o755))?;
        chdir(LONG_NAME)?;
    }
    Ok(())
}

fn mount_small(place: &CStr) -> Result<(), Errno> {
    let none: Option<&CStr> = None;
    mount(none, place, Some(c"tmpfs"), MsFlags::empty(), Some(SMALL))
}

/// A user and a mount namespace, in which this process is root by name only: its user outside stays
/// what it was.
fn enter(also: CloneFlags) -> Result<(), Errno> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | also)?;
    write(c"/proc/self/setgroups", b"deny")?;
    write_map(c"/proc/self/uid_map", uid)?;
    write_map(c"/proc/self/gid_map", gid)?;
    let none: Option<&CStr> = None;
    mount(
        none,
        c"/",
        none,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        none,
    )
}

/// One line: that id is 0 inside.
fn write_map(path: &CStr, id: u32) -> Result<(), Errno> {
    let mut line = [0; 16];
    let mut digits = [0; 10];
    let parts: [&[u8]; 3] = [b"0 ", decimal(id, &mut digits), b" 1"];
    let mut length = 0;
    for part in parts {
        let end = length + part.len();
        line.get_mut(length..end)
            .ok_or(Errno::ERANGE)?
            .copy_from_slice(part);
        length = end;
    }
    write(path, line.get(..length).unwrap_or_default())
}

fn write(path: &CStr, value: &[u8]) -> Result<(), Errno> {
    let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::write(&file, value).map(|_| ())
}
