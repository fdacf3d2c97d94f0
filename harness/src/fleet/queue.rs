//! One inotify queue for the `cgroup.events` of all sites.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

use super::Completion;
use super::roster::{Roster, State};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::{DetectError, limit};
use crate::error::SysError;

/// The queue, and which watch is of which site.
#[derive(Debug)]
pub(super) struct Queue {
    inotify: Inotify,
    sites: HashMap<WatchDescriptor, usize>,
}

impl Queue {
    /// An empty one. Errors: a limit of the machine, named.
    pub(super) fn new() -> Result<Self, DetectError> {
        Ok(Self {
            inotify: Inotify::init().map_err(|e| limit::inotify_init(limit::errno_of(&e)))?,
            sites: HashMap::new(),
        })
    }

    /// Readable when something has come.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches a site from now on, and adds it to `roster`.
    pub(super) fn watch(
        &mut self,
        site: usize,
        cgroup: &Cgroup,
        roster: &mut Roster,
    ) -> Result<(), DetectError> {
        let path = cgroup.path().join("cgroup.events");
        let watch = self
            .inotify
            .watches()
            .add(&path, WatchMask::MODIFY)
            .map_err(|e| limit::inotify_watch(&path, limit::errno_of(&e)))?;
        self.sites.insert(watch, site);
        roster.add(site, State::path(cgroup))
    }

    /// Takes what has come, and reads the sites that it names; all of them if something was lost.
    pub(super) fn take(
        &mut self,
        roster: &mut Roster,
        woke: MonoNs,
        over: &mut Vec<Completion>,
    ) -> Result<(), SysError> {
        let mut buffer = [0u8; 16_384];
        let events = match self.inotify.read_events(&mut buffer) {
            Ok(events) => events,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(SysError::plain("read of inotify", limit::errno_of(&e))),
        };
        for event in events {
            if event.mask.contains(EventMask::Q_OVERFLOW) {
                roster.counters.overflows += 1;
                roster.look_at_all(woke, over);
            } else if let Some(site) = self.sites.get(&event.wd)
                && !roster.look(*site, woke, over)
            {
                roster.counters.spurious += 1;
            }
        }
        Ok(())
    }
}
