//! User ids that no process has, for processes that must share theirs with no other.
//!
//! Each run has a user of its own: `kill-uid` ends *every* process of the workload's user, and what
//! that user leaves is a leak. Two runs with the same user would kill each other's processes and
//! report each other's files.

use std::io;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::error::{SysError, Target};
use crate::host::another_user::UNUSED_UID;
use crate::proc;

/// The users that actors become when the harness is root, one a run.
pub const ACTOR_UIDS: Range<u32> = UNUSED_UID..UNUSED_UID + 100;

/// The users for a killer that its victims must not be able to signal.
pub(crate) const KILLER_UIDS: Range<u32> = ACTOR_UIDS.end..ACTOR_UIDS.end + 100;

/// The users of strangers: processes in a watched cgroup that are no actors.
pub(crate) const STRANGER_UIDS: Range<u32> = KILLER_UIDS.end..KILLER_UIDS.end + 100;

/// A user id of `range` that no process has now. Processes that look at the same time begin their
/// search in different places.
///
/// # Errors
///
/// `/proc` could not be read. `None`: processes have all of them.
pub(crate) fn unused(range: Range<u32>) -> Result<Option<u32>, SysError> {
    Ok(search(range, std::process::id(), &in_use()?))
}

/// A user of a run, which no other run takes as long as this exists: between its trials no process
/// has it.
#[derive(Debug)]
pub(crate) struct Reserved {
    /// The user id.
    pub uid: u32,
    _name: UnixDatagram,
}

impl Reserved {
    /// Takes a user id of [`ACTOR_UIDS`] that no process has, by binding an abstract socket of its
    /// name: the kernel lets one process do that, and undoes it when that process ends. (Runs in
    /// different network namespaces do not see each other.)
    ///
    /// Errors: `/proc` could not be read; as bind(2). `None`: all are taken.
    pub(crate) fn take() -> Result<Option<Self>, SysError> {
        let fail = |e: &io::Error| SysError::io("reserve a user for actors", Target::Nothing, e);
        let mut used = in_use()?;
        while let Some(uid) = search(ACTOR_UIDS, std::process::id(), &used) {
            let address = SocketAddr::from_abstract_name(format!("scenario-actors-{uid}"))
                .map_err(|e| fail(&e))?;
            match UnixDatagram::bind_addr(&address) {
                Ok(name) => return Ok(Some(Self { uid, _name: name })),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => used.push(uid),
                Err(e) => return Err(fail(&e)),
            }
        }
        Ok(None)
    }
}

/// User ids of all processes.
fn in_use() -> Result<Vec<u32>, SysError> {
    let mut used = Vec::new();
    for pid in proc::pids()? {
        match proc::status(pid) {
            Ok(status) => used.extend(status.uids),
            Err(e) if proc::vanished(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(used)
}

/// Processes that are, or may become, `uid`. Errors: `/proc` could not be read.
pub(crate) fn processes_of(uid: u32) -> Result<Vec<i32>, SysError> {
    let mut found = Vec::new();
    for pid in proc::pids()? {
        match proc::status(pid) {
            Ok(status) if status.uids.contains(&uid) => found.push(pid),
            Ok(_) => {}
            Err(e) if proc::vanished(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

fn search(range: Range<u32>, salt: u32, used: &[u32]) -> Option<u32> {
    let length = range.end - range.start;
    (0..length)
        .map(|n| range.start + (salt % length + n) % length)
        .find(|uid| !used.contains(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_at_once_have_two_users() {
        let first = Reserved::take().unwrap().unwrap();
        let second = Reserved::take().unwrap().unwrap();
        assert_ne!(first.uid, second.uid);
    }

    #[test]
    fn the_search_goes_round_and_ends() {
        assert_eq!(search(10..13, 2, &[]), Some(12));
        assert_eq!(search(10..13, 2, &[12]), Some(10));
        assert_eq!(search(10..13, u32::MAX, &[10, 11]), Some(12));
        assert_eq!(search(10..13, 0, &[10, 11, 12]), None);
    }
}
