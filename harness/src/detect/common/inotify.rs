//! One inotify instance for all watches of this process: a user may have 128 of them.
//!
//! Everything that sleeps on it is woken by everything, and one of them takes the events off the
//! queue. It tells the others by their eventfds, so that one that sleeps in another thread, or is
//! looked at later, does not miss what was its own. An overflow is told to all: each reads its
//! state again.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use allgone::detect::{Sources, limit};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::detect::{Counters, DetectError};
use crate::error::SysError;

/// The instance, and those that have subscribed.
#[derive(Debug)]
pub(in crate::detect) struct Shared {
    inotify: Inotify,
    subscribers: Mutex<Subscribers>,
}

/// Whose process it is, too: a child that was forked reads the same queue and must not.
static OF_PROCESS: Mutex<(u32, Weak<Shared>)> = Mutex::new((0, Weak::new()));

#[derive(Debug, Default)]
struct Subscribers {
    next: u64,
    all: BTreeMap<u64, Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    /// `None`: what was watched is gone, and its number with it.
    watch: Option<WatchDescriptor>,
    /// Of the entries of a directory, the one that matters.
    name: Option<OsString>,
    event: Arc<EventFd>,
    told: bool,
    overflows: u64,
}

impl Shared {
    /// The one of this process; made if there is none.
    fn of_process() -> Result<Arc<Self>, DetectError> {
        let mut of_process = OF_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let me = std::process::id();
        if of_process.0 == me
            && let Some(shared) = of_process.1.upgrade()
        {
            return Ok(shared);
        }
        let shared = Self::new()?;
        *of_process = (me, Arc::downgrade(&shared));
        Ok(shared)
    }

    fn new() -> Result<Arc<Self>, DetectError> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        Ok(Arc::new(Self {
            inotify: Inotify::init(flags).map_err(limit::inotify_init)?,
            subscribers: Mutex::default(),
        }))
    }

    fn subscribers(&self) -> std::sync::MutexGuard<'_, Subscribers> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscribers {
    /// Marks those that an event is for, except `me`: it is about to read its state.
    fn deliver(&mut self, event: &InotifyEvent, me: u64) {
        let overflow = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        for (number, subscriber) in &mut self.all {
            let of_its_watch = subscriber.watch == Some(event.wd);
            if of_its_watch && event.mask.contains(AddWatchFlags::IN_IGNORED) {
                subscriber.watch = None;
            }
            subscriber.overflows += u64::from(overflow);
            let concerned = overflow || of_its_watch && subscriber.cares_for(event);
            if concerned && *number != me && !subscriber.told {
                subscriber.told = true;
                // It can only fail if it was written to 2^64 - 2 times.
                match subscriber.event.write(1) {
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
}

impl Subscriber {
    fn cares_for(&self, event: &InotifyEvent) -> bool {
        match (&self.name, &event.name) {
            (Some(wanted), Some(name)) => wanted == name,
            // Of the directory itself.
            _ => true,
        }
    }
}

/// A place in the shared instance; given up when it is dropped.
#[derive(Debug)]
pub(in crate::detect) struct Subscription {
    shared: Arc<Shared>,
    number: u64,
    event: Arc<EventFd>,
}

impl Subscription {
    /// Subscribes to `mask` on `path`, in a directory to what happens to the entry `name`. Read the
    /// state afterwards.
    pub(in crate::detect) fn to(
        path: &Path,
        mask: AddWatchFlags,
        name: Option<&OsStr>,
    ) -> Result<Self, DetectError> {
        Self::within(Shared::of_process()?, path, mask, name)
    }

    fn within(
        shared: Arc<Shared>,
        path: &Path,
        mask: AddWatchFlags,
        name: Option<&OsStr>,
    ) -> Result<Self, DetectError> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| limit::descriptor(SysError::plain("eventfd", e)))?;
        let event = Arc::new(event);
        let mut subscribers = shared.subscribers();
        // The same file has the same watch, whose mask must not become less.
        let watch = shared
            .inotify
            .add_watch(
                path,
                mask | AddWatchFlags::from_bits_retain(nix::libc::IN_MASK_ADD),
            )
            .map_err(|e| limit::inotify_watch(path, e))?;
        let number = subscribers.next;
        subscribers.next += 1;
        let subscriber = Subscriber {
            watch: Some(watch),
            name: name.map(OsStr::to_owned),
            event: Arc::clone(&event),
            told: false,
            overflows: 0,
        };
        subscribers.all.insert(number, subscriber);
        drop(subscribers);
        Ok(Self {
            shared,
            number,
            event,
        })
    }

    /// Adds what it is woken by.
    pub(in crate::detect) fn add_to<'a>(&'a self, sources: Sources<'a>) -> Sources<'a> {
        sources
            .readable(&self.shared.inotify)
            .readable(&*self.event)
    }

    /// The same for a sleep of one's own.
    pub(in crate::detect) fn fds(&self) -> [PollFd<'_>; 2] {
        [self.shared.inotify.as_fd(), self.event.as_fd()]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// Takes what has come off the shared queue, tells whom it is for, and forgets what it has been
    /// told itself. What the events say does not matter, only that the state is to be read; losses
    /// are counted.
    pub(in crate::detect) fn drain(&mut self, counters: &mut Counters) -> Result<(), SysError> {
        // Held while reading: what is taken off the queue is delivered before anything else looks
        // whether it was told.
        let mut subscribers = self.shared.subscribers();
        match self.shared.inotify.read_events() {
            Ok(events) => events
                .iter()
                .for_each(|event| subscribers.deliver(event, self.number)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(e) => return Err(SysError::plain("read of inotify", e)),
        }
        if let Some(own) = subscribers.all.get_mut(&self.number) {
            counters.overflows += std::mem::take(&mut own.overflows);
            if std::mem::take(&mut own.told) {
                match self.event.read() {
                    Ok(_) | Err(Errno::EAGAIN) => {}
                    Err(e) => return Err(SysError::plain("read of an eventfd", e)),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = self.shared.subscribers();
        let Some(own) = subscribers.all.remove(&self.number) else {
            return;
        };
        if let Some(watch) = own.watch
            && !subscribers.all.values().any(|s| s.watch == Some(watch))
        {
            // EINVAL: it is gone with what it watched.
            match self.shared.inotify.rm_watch(watch) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allgone::detect::sleep::is_ready;

    fn subscribe(shared: &Arc<Shared>, path: &Path, name: Option<&str>) -> Subscription {
        let mask = match name {
            Some(_) => AddWatchFlags::IN_DELETE,
            None => AddWatchFlags::IN_MODIFY,
        };
        Subscription::within(Arc::clone(shared), path, mask, name.map(OsStr::new)).unwrap()
    }

    fn is_told(subscription: &Subscription) -> bool {
        is_ready(subscription.event.as_fd(), PollFlags::POLLIN).unwrap()
    }

    fn drain(subscription: &mut Subscription) -> u64 {
        let mut counters = Counters::default();
        subscription.drain(&mut counters).unwrap();
        counters.overflows
    }

    #[test]
    fn the_one_that_takes_the_events_tells_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b", "c"].map(|name| dir.path().join(name));
        for file in &files {
            std::fs::write(file, "0").unwrap();
        }
        let shared = Shared::new().unwrap();
        let [mut a, mut b, c] = files.each_ref().map(|file| subscribe(&shared, file, None));
        std::fs::write(&files[1], "1").unwrap();
        drain(&mut a);
        assert_eq!([&a, &b, &c].map(is_told), [false, true, false]);
        assert!(
            !is_ready(shared.inotify.as_fd(), PollFlags::POLLIN).unwrap(),
            "the queue is empty, and b is ready all the same"
        );
        drain(&mut b);
        assert!(!is_told(&b));
    }

    #[test]
    fn of_one_directory_each_entry_has_its_own_events() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let shared = Shared::new().unwrap();
        let mut a = subscribe(&shared, dir.path(), Some("a"));
        let mut b = subscribe(&shared, dir.path(), Some("b"));
        std::fs::remove_dir(dir.path().join("b")).unwrap();
        drain(&mut a);
        assert_eq!((is_told(&a), is_told(&b)), (false, true));
        drain(&mut b);
        // The watch is shared, and stays for the one that is left.
        drop(b);
        std::fs::remove_dir(dir.path().join("a")).unwrap();
        let mut other = subscribe(&shared, dir.path(), Some("c"));
        drain(&mut other);
        assert!(is_told(&a));
    }

    #[test]
    fn an_overflow_is_told_to_all() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Shared::new().unwrap();
        let mut a = subscribe(&shared, dir.path(), Some("a"));
        let mut b = subscribe(&shared, dir.path(), Some("b"));
        // As many as the queue holds; the kernel adds that there were more.
        let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        for _ in 0..=most.trim().parse::<u32>().unwrap() {
            // Different names in turn: equal neighbours become one.
            for name in ["x", "y"] {
                let path = dir.path().join(name);
                std::fs::write(&path, "").unwrap();
                std::fs::remove_file(&path).unwrap();
            }
        }
        let mut overflows = 0;
        while is_ready(shared.inotify.as_fd(), PollFlags::POLLIN).unwrap() {
            overflows += drain(&mut a);
        }
        assert_eq!((overflows, is_told(&b)), (1, true));
        assert_eq!(drain(&mut b), 1);
    }
}
