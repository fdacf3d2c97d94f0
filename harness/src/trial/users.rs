//! User ids that nobody has, for those who must be nobody else.
//!
//! Each run has a user of its own: `kill-uid` ends *every* process of the workload's user, and what that user leaves is a leak. Two runs with
//! one user would kill each other's processes and find each other's files.

use std::ops::Range;

use crate::error::SysError;
use crate::proc;

/// The users that actors become when the harness is root, one a run. Nobody else's: below the range of systemd's dynamic users, above the
/// usual accounts (systemd, `docs/UIDS-GIDS.md`: 60578 to 61183 are unused).
pub const ACTOR_UIDS: Range<u32> = 60_931..61_031;

/// The users that a killer becomes so that its victims may not signal it.
pub(crate) const KILLER_UIDS: Range<u32> = ACTOR_UIDS.end..ACTOR_UIDS.end + 100;

/// A user id of `range` that no process has now. Processes that look at the same time begin their search in different places.
///
/// # Errors
///
/// `/proc` could not be read. `None`: processes have all of them.
pub(crate) fn unused(range: Range<u32>) -> Result<Option<u32>, SysError> {
    let mut used = Vec::new();
    for pid in proc::pids()? {
        match proc::status(pid) {
            Ok(status) => used.extend(status.uids),
            Err(e) if proc::vanished(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(search(range, std::process::id(), &used))
}

/// Processes that are, or may become, `uid`. Errors: `/proc` could not be read.
pub(super) fn processes_of(uid: u32) -> Result<Vec<i32>, SysError> {
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
    fn the_search_goes_round_and_ends() {
        assert_eq!(search(10..13, 2, &[]), Some(12));
        assert_eq!(search(10..13, 2, &[12]), Some(10));
        assert_eq!(search(10..13, u32::MAX, &[10, 11]), Some(12));
        assert_eq!(search(10..13, 0, &[10, 11, 12]), None);
    }
}
