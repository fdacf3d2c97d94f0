//! Passes over the members of a cgroup that never kill an outsider through a reused pid.
//!
//! The number read from `cgroup.procs` may have been freed and given to another process. So a pidfd
//! is opened first, and only then is the process behind it checked for membership: by its cgroup's
//! id (`PIDFD_GET_INFO`, Linux 6.13), or by reading the list again. In the second case: if the
//! number is still listed, and the process behind the pidfd is alive, then it has had the number
//! all along.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::signal::{by_number, by_pidfd, may_be_signalled};
use super::{Fallback, KillReport};
use crate::MonoNs;
use crate::cgroup::Census;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;
use crate::sys::pidfd;

/// How many descriptors are open at a time.
const CHUNK: usize = 128;

/// One pass: sends `signal` to every member of `cgroup` and its descendants that is not in `done`,
/// and adds those that it reached. Returns how many members were not in `done`: signalled now, or
/// still to be verified.
pub fn pass(
    cgroup: &Cgroup,
    signal: Signal,
    done: &mut HashSet<i32>,
    report: &mut KillReport,
) -> Result<usize, CgroupError> {
    let census = Census::deep(cgroup)?;
    report.passes += 1;
    report.foreign = report.foreign.max(census.foreign);
    let own = Pid::this().as_raw();
    let new: Vec<i32> = census
        .new_to(done)
        .into_iter()
        .filter(|pid| may_be_signalled(*pid, own))
        .collect();
    for chunk in new.chunks(CHUNK) {
        signal_chunk(cgroup, &census, chunk, signal, done, report)?;
    }
    Ok(new.len())
}

/// Passes until the kernel says `populated 0`, or `deadline` has passed. Complete even if members
/// move, as long as they cannot fork.
pub fn until_unpopulated(
    cgroup: &Cgroup,
    signal: Signal,
    deadline: MonoNs,
    report: &mut KillReport,
) -> Result<(), CgroupError> {
    let events = cgroup.events_file()?;
    while events.read()?.populated {
        if deadline.has_passed() {
            report.gave_up = true;
            break;
        }
        // All members again: a number that was signalled before may belong to a new member by now.
        pass(cgroup, signal, &mut HashSet::new(), report)?;
    }
    Ok(())
}

fn signal_chunk(
    cgroup: &Cgroup,
    census: &Census,
    pids: &[i32],
    signal: Signal,
    done: &mut HashSet<i32>,
    report: &mut KillReport,
) -> Result<(), CgroupError> {
    let mut open: Vec<(i32, OwnedFd)> = Vec::with_capacity(pids.len());
    for pid in pids {
        match pidfd::open(Pid::from_raw(*pid)) {
            Ok(fd) => open.push((*pid, fd)),
            Err(Errno::ESRCH) => {
                report.sent(Err(Errno::ESRCH), *pid);
                done.insert(*pid);
            }
            Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => {
                report.fall_back(Fallback::SignalledByNumber(errno));
                by_number(report, *pid, signal);
                done.insert(*pid);
            }
            Err(errno) => report.met(&SysError::pid("pidfd_open", *pid, errno)),
        }
    }
    let mut reread: Option<Census> = None;
    for (pid, fd) in open {
        let member = match pidfd::info(fd.as_fd()) {
            Ok(pidfd::Info {
                cgroup_id: Some(id),
                ..
            }) => census.cgroups.contains(&id),
            Err(Errno::ESRCH) => {
                report.sent(Err(Errno::ESRCH), pid);
                done.insert(pid);
                continue;
            }
            Ok(_) | Err(Errno::ENOTTY | Errno::EINVAL) => {
                // All descriptors of the chunk were open before this read.
                let list = match reread.take() {
                    Some(list) => list,
                    None => Census::deep(cgroup)?,
                };
                let found = list.pids.binary_search(&pid).is_ok();
                reread = Some(list);
                found
            }
            Err(errno) => {
                report.met(&SysError::pid("ioctl PIDFD_GET_INFO", pid, errno));
                continue;
            }
        };
        // A process that is not a member has moved to a cgroup that is newer than the walk, or is
        // an outsider. The next walk will tell.
        if member
            && matches!(
                by_pidfd(report, &fd, pid, signal),
                Ok(()) | Err(Errno::ESRCH)
            )
        {
            done.insert(pid);
        }
    }
    Ok(())
}
