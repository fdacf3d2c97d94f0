//! Removing a cgroup after its last process has just ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Cgroup, CgroupError};
use crate::MonoNs;
use crate::error::{SysError, Target, retry_eintr};

/// How long a cgroup without live members may take to become removable.
pub const GRACE: Duration = Duration::from_secs(2);

/// Removes the child `name`, trying again while it is `EBUSY`: after an exit that was waited for,
/// Linux 6.19 and 7.0 may still count the process as a member. Sleeps on `cgroup.events`, a
/// millisecond at most, because that event may be late or lost.
pub fn remove_child_when_empty(
    parent: &Cgroup,
    name: &str,
    deadline: MonoNs,
) -> Result<(), CgroupError> {
    loop {
        match parent.remove_child(name) {
            Err(e) if e.errno() == Some(Errno::EBUSY) && !deadline.has_passed() => {}
            other => return other,
        }
        let events = match parent.child(name).and_then(|c| c.events_file()) {
            Ok(events) => events,
            Err(e) if e.errno() == Some(Errno::ENOENT) => continue,
            Err(e) => return Err(e),
        };
        pause(events.as_fd())?;
    }
}

/// As [`remove_child_when_empty`], for a directory of a v1 hierarchy, which has no event to wait
/// for.
pub fn remove_v1_when_empty(path: &Path, deadline: MonoNs) -> Result<(), SysError> {
    let tasks = path.join("cgroup.procs");
    loop {
        match std::fs::remove_dir(path) {
            Err(e) if e.raw_os_error() == Some(nix::libc::EBUSY) && !deadline.has_passed() => {}
            Err(e) => return Err(SysError::io("rmdir", Target::Path(path.to_path_buf()), &e)),
            Ok(()) => return Ok(()),
        }
        match std::fs::File::open(&tasks) {
            // Exceptional conditions never come: this is only a time-out.
            Ok(file) => pause(file.as_fd())?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(SysError::io("open", Target::Path(tasks), &e)),
        }
    }
}

/// Waits for an exceptional event on `fd`, a millisecond at most.
fn pause(fd: BorrowedFd<'_>) -> Result<(), SysError> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLPRI)];
    retry_eintr(|| poll(&mut fds, PollTimeout::from(1u8)))
        .map(|_| ())
        .map_err(|e| SysError::plain("poll", e))
}
