//! How a sleeping detector learns that its cgroup was removed.
//!
//! The cgroup's own files do not report it: a poller is not woken by the removal, and
//! `IN_DELETE_SELF` came with Linux 7.1. The *parent directory* has always reported it: `rmdir(2)`
//! sends it `IN_DELETE`. Checked by hand on 6.18.44: parent `IN_DELETE` comes, `IN_DELETE_SELF` of
//! the directory and of `cgroup.events` does not.

use nix::errno::Errno;
use nix::sys::inotify::AddWatchFlags;

use super::inotify::Subscription;
use crate::cgroup::Cgroup;
use crate::detect::DetectError;
use crate::error::SysError;

/// Subscribes to the removal of `cgroup`. Read the state afterwards: a removal before this is not
/// reported.
pub(in crate::detect) fn watch(cgroup: &Cgroup) -> Result<Subscription, DetectError> {
    let path = cgroup.path();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(SysError::path("find the parent of", path, Errno::EINVAL).into());
    };
    let mask = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
    Subscription::to(parent, mask, Some(name))
}
