//! Removing a cgroup that is about to become empty.

use std::time::Duration;

use nix::errno::Errno;

use super::{Cgroup, CgroupError};
use crate::sys::time::{now, sleep_until};

/// How long a process that has been killed or reaped may take to leave its cgroup.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Removes a cgroup and everything below it whose last process has been reaped, or killed. That
/// process may still be a member: since Linux 6.19 a process leaves its cgroup after it can be
/// reaped.
///
/// Errors: `EBUSY` a process is still in it after five seconds; as rmdir(2).
pub fn remove_when_empty(mut cgroup: Cgroup) -> Result<(), CgroupError> {
    let deadline = now() + LEAVE_LIMIT;
    loop {
        match cgroup.remove_tree() {
            Ok(()) => return Ok(()),
            Err((back, e)) if e.errno() == Some(Errno::EBUSY) && !deadline.has_passed() => {
                cgroup = back
            }
            Err((_, e)) => return Err(e),
        }
        // An interrupted sleep only makes the next attempt come early.
        match sleep_until(now() + Duration::from_micros(100)) {
            Ok(()) | Err(_) => {}
        }
    }
}
