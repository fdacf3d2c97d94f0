//! The cgroups that are the guard's to end: children of the base whose names begin with its prefix;
//! and to remove: directories of such names in v1 hierarchies.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst.

use core::ffi::CStr;

use super::call::{self, Fd};
use super::process;
use super::raw::Errno;
use super::serve::Host;
use super::tree::{each_dir, next_dir, remove_tree};
use super::wire::born;

/// What is the guard's.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    pub(crate) prefix: &'static CStr,
    /// The guard's own cgroup, which also begins with the prefix.
    pub(crate) own: &'static CStr,
}

impl Ground {
    /// Kills whatever is there and removes what is empty; with `one_by_one` each process besides
    /// the write to `cgroup.kill`. Returns how many are left. Errors: the base cannot be read.
    pub(crate) fn clear_once(self, one_by_one: bool) -> Result<u32, Errno> {
        // All are killed before any is waited for.
        self.each(born::BASE, |base, name| {
            u32::from(kill_tree(base, name, one_by_one).is_err())
        })?;
        let mut left = 0;
        for base in [born::BASE].into_iter().chain(born::LIMITS) {
            left += self.each(base, |base, name| {
                u32::from(remove_tree(base, name).is_err())
            })?;
        }
        Ok(left)
    }

    /// The sum of what `on` says of each in `base`.
    fn each(self, base: Fd, mut on: impl FnMut(Fd, &CStr) -> u32) -> Result<u32, Errno> {
        // A description of its own: the host's has one offset for all who read it.
        let base = call::open(base, c".", call::DIRECTORY)?;
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
    pub(crate) fn leave(self, host: Host) -> bool {
        let base = || call::open(born::BASE, c"cgroup.procs", call::WRITE_ONLY).is_ok_and(enter);
        let moved = match host {
            // It may remove the base at once.
            Host::Waits => enter(born::HOME) || base(),
            // A cgroup with controllers enabled for its children takes no process; the host's was
            // good enough for the host.
            Host::IsGone => base() || enter(born::HOME),
        };
        let above = || call::open(born::BASE, c"../cgroup.procs", call::WRITE_ONLY);
        let moved = moved || above().is_ok_and(enter);
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
///
/// `cgroup.kill` sends it to the first thread of each. On many kernels that spares a process whose
/// first thread has ended: `one_by_one` reaches it.
fn kill_tree(parent: Fd, name: &CStr, one_by_one: bool) -> Result<(), Errno> {
    let top = call::open(parent, name, call::DIRECTORY)?;
    let killed = call::open(top, c"cgroup.kill", call::WRITE_ONLY).and_then(|file| {
        let killed = call::write(file, b"1");
        call::close(file);
        killed.map(|_| ())
    });
    let killed = match killed {
        // Linux 5.14 has it first.
        Err(Errno::NOENT) => kill_listed(top),
        Ok(()) if one_by_one => kill_listed(top),
        other => other,
    };
    call::close(top);
    killed
}

/// The same, process by process. One pass: who forks meanwhile is for the next.
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

const SIGKILL: i32 = 9;
/// How many descriptors of processes are open at a time.
const CHUNK: usize = 64;

/// Processes that have been opened by a number of the list, and whether the number was listed
/// after that, too.
struct Opened {
    processes: [(i32, Fd, bool); CHUNK],
    count: usize,
}

/// SIGKILL to each process of a cgroup.
fn kill_members(dir: Fd) -> Result<(), Errno> {
    let mut opened = Opened {
        processes: [(0, 0, false); CHUNK],
        count: 0,
    };
    each_member(dir, |pid| match process::open(pid) {
        Ok(process) => {
            if let Some(free) = opened.processes.get_mut(opened.count) {
                *free = (pid, process, false);
                opened.count += 1;
            }
            if opened.count == CHUNK {
                opened.kill(dir);
            }
        }
        // Linux 5.3 has it first, and some containers refuse it.
        Err(Errno::NOSYS | Errno::PERM) => match process::kill(pid, SIGKILL) {
            Ok(()) | Err(_) => {}
        },
        // It has ended; or there is no descriptor free, and the next pass has one.
        Err(_) => {}
    })?;
    opened.kill(dir);
    Ok(())
}

impl Opened {
    /// SIGKILL to those that are members, and forgets all. A number may have been another's by the
    /// time that it was opened; if it is listed after that, it was not.
    fn kill(&mut self, dir: Fd) {
        let opened = self.processes.get_mut(..self.count).unwrap_or_default();
        let read = each_member(dir, |pid| {
            for process in opened.iter_mut().filter(|process| process.0 == pid) {
                process.2 = true;
            }
        });
        for (_, process, listed) in opened {
            if read.is_ok() && *listed {
                match process::send(*process, SIGKILL) {
                    Ok(()) | Err(_) => {}
                }
            }
            call::close(*process);
        }
        self.count = 0;
    }
}

/// Calls `on` with each number of `cgroup.procs`, but for 0: that stands for a process of another
/// PID namespace, and to kill it would be to kill this process's own group.
fn each_member(dir: Fd, mut on: impl FnMut(i32)) -> Result<(), Errno> {
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
                        if pid > 0 {
                            on(pid);
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
