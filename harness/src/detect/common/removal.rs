//! How a sleeping detector learns that its cgroup was removed.
//!
//! The cgroup's own files do not report it: a poller is not woken by the removal, and
//! `IN_DELETE_SELF` came with Linux 7.1. The *parent directory* has always reported it: `rmdir(2)`
//! sends it `IN_DELETE`. Checked by hand on 6.18.44: parent `IN_DELETE` comes, `IN_DELETE_SELF` of
//! the directory and of `cgroup.events` does not.

use std::os::fd::{AsFd, BorrowedFd};

use inotify::{Inotify, WatchMask};
use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::detect::DetectError;
use crate::error::SysError;
use allgone::detect::limit;

/// An inotify watch on the directory that holds the cgroup.
#[derive(Debug)]
pub(in crate::detect) struct Removal {
    inotify: Inotify,
}

impl Removal {
    /// Subscribes. Read the state afterwards: a removal before this is not reported.
    pub(in crate::detect) fn watch(cgroup: &Cgroup) -> Result<Self, DetectError> {
        let inotify = Inotify::init().map_err(|e| limit::inotify_init(limit::errno_of(&e)))?;
        let Some(parent) = cgroup.path().parent() else {
            return Err(SysError::path("find the parent of", cgroup.path(), Errno::EINVAL).into());
        };
        inotify
            .watches()
            .add(parent, WatchMask::DELETE | WatchMask::ONLYDIR)
            .map_err(|e| limit::inotify_watch(parent, limit::errno_of(&e)))?;
        Ok(Self { inotify })
    }

    /// Takes all events off the queue. Which child was removed does not matter: the state is read
    /// again.
    pub(in crate::detect) fn drain(&mut self) -> Result<(), SysError> {
        match self.inotify.read_events(&mut [0u8; 4096]) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(SysError::plain("read of inotify", limit::errno_of(&e))),
        }
    }
}

impl AsFd for Removal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
