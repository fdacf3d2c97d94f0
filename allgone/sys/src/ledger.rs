//! The page that actors, observer and oracle share: which processes were born, which said that they
//! are about to exit, and when.
//!
//! An actor maps it once, before its first fork, and every descendant inherits the mapping; no
//! descriptor is needed afterwards, so a daemon may close all of them. A process that is killed
//! leaves no stamp: then the ledger shows fewer deaths than there were, never more. It is not a
//! list of live processes: only the kernel knows which are alive.
//!
//! Sources: memfd_create(2) (Linux 3.17), mmap(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::futex;
use crate::time::{MonoNs, now};

/// How many processes are listed one by one; more are counted only.
pub const SLOTS: usize = 16_384;
/// How many barriers a script may use.
pub const BARRIERS: usize = 16;
/// Where the tree and a process outside of it meet: a request, and the answer.
const ASKED: usize = BARRIERS;
const ANSWERED: usize = BARRIERS + 1;

/// What tags have in common: see [`Ledger::tag`].
pub const TAGS: u32 = 0x616c_0000;

/// One process of the tree.
#[derive(Debug)]
#[repr(C)]
pub struct Slot {
    pid: AtomicI32,
    _pad: u32,
    born_ns: AtomicU64,
    exit_ns: AtomicU64,
}

#[derive(Debug)]
#[repr(C)]
struct Layout {
    births: AtomicU32,
    claimed: AtomicU32,
    deaths: AtomicU32,
    ready: AtomicU32,
    refused: AtomicU32,
    go: AtomicU32,
    last_exit_ns: AtomicU64,
    first_refused_ns: AtomicU64,
    barriers: [AtomicU32; BARRIERS + 2],
    tag: AtomicU32,
    _pad: u32,
    slots: [Slot; SLOTS],
}

/// A mapping of the shared page.
#[derive(Debug)]
pub struct Ledger {
    at: NonNull<Layout>,
    memfd: Option<OwnedFd>,
}

// SAFETY: the page consists of atomics only, and the mapping lives as long as the value.
unsafe impl Send for Ledger {}
// SAFETY: as above.
unsafe impl Sync for Ledger {}

/// One row of the ledger, read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The process id as the process itself saw it (in a PID namespace: the inner one).
    pub pid: i32,
    /// When it stamped its birth.
    pub born: MonoNs,
    /// When it stamped that it was about to exit, if it has.
    pub exit: Option<MonoNs>,
}

/// Sums of the ledger, read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sums {
    /// Births announced by parents before they forked (refused forks taken back).
    pub births: u32,
    /// Exits stamped.
    pub deaths: u32,
    /// Forks refused by a limit.
    pub refused: u32,
    /// The latest exit stamp.
    pub last_exit: Option<MonoNs>,
    /// The first refused fork.
    pub first_refused: Option<MonoNs>,
}

impl Ledger {
    /// Makes an empty ledger. It cannot shrink or grow, so that no actor can take it away from the
    /// others.
    pub fn create() -> Result<Self, Errno> {
        let memfd = memfd_create(
            c"ledger",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )?;
        nix::unistd::ftruncate(
            &memfd,
            libc::off_t::try_from(size_of::<Layout>()).map_err(|_| Errno::EFBIG)?,
        )?;
        fcntl(
            &memfd,
            FcntlArg::F_ADD_SEALS(
                SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL,
            ),
        )?;
        let ledger = Self {
            at: Self::map(memfd.as_fd())?,
            memfd: Some(memfd),
        };
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let mixed = (now().0 as u32).wrapping_mul(0x9e37_79b1) ^ std::process::id();
        ledger
            .page()
            .tag
            .store(TAGS | mixed & 0xffff, Ordering::SeqCst);
        Ok(ledger)
    }

    /// Maps the ledger behind `memfd`, as an actor does. The descriptor is not needed afterwards.
    pub fn open(memfd: BorrowedFd<'_>) -> Result<Self, Errno> {
        if nix::sys::stat::fstat(memfd)?.st_size
            < libc::off_t::try_from(size_of::<Layout>()).map_err(|_| Errno::EFBIG)?
        {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            at: Self::map(memfd)?,
            memfd: None,
        })
    }

    fn map(memfd: BorrowedFd<'_>) -> Result<NonNull<Layout>, Errno> {
        let length = std::num::NonZeroUsize::new(size_of::<Layout>()).ok_or(Errno::EINVAL)?;
        // SAFETY: the file is at least this long and sealed against shrinking; an anonymous address
        // is chosen by the kernel.
        let at = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                memfd,
                0,
            )
        }?;
        Ok(at.cast())
    }

    /// The descriptor to hand to an actor. `None` on a ledger that was opened, not created.
    pub fn memfd(&self) -> Option<BorrowedFd<'_>> {
        self.memfd.as_ref().map(AsFd::as_fd)
    }

    fn page(&self) -> &Layout {
        // SAFETY: mapped for the life of `self`; all-zero bytes are valid atomics; concurrent
        // access is through atomics only.
        unsafe { self.at.as_ref() }
    }

    // ---- written by actors; async-signal-safe
    // -------------------------------------------------------------------------------

    /// The name of objects of the kernel that the tree makes and leaves behind ([`crate::ipc`]):
    /// [`TAGS`], and 16 bits that differ from ledger to ledger.
    pub fn tag(&self) -> u32 {
        self.page().tag.load(Ordering::SeqCst)
    }

    /// Announces a birth, by the parent, before it forks: the sum is never behind the truth.
    pub fn announce(&self) {
        self.page().births.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes an announcement back.
    pub fn take_back(&self) {
        self.page().births.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes an announcement back, and counts that a limit refused the fork.
    pub fn refused(&self) {
        let page = self.page();
        self.take_back();
        if page.refused.fetch_add(1, Ordering::SeqCst) == 0 {
            page.first_refused_ns.store(now().0, Ordering::SeqCst);
        }
    }

    /// Counts an operation that the kernel refused, and without which the tree is not what its
    /// script says. It counts as a refused fork does.
    pub fn not_played(&self) {
        self.announce();
        self.refused();
    }

    /// Enters a new process; returns its row, or `None` when the rows are used up (it is counted
    /// all the same).
    pub fn born(&self, pid: i32) -> Option<usize> {
        let page = self.page();
        let index = usize::try_from(page.claimed.fetch_add(1, Ordering::SeqCst)).ok()?;
        let slot = page.slots.get(index)?;
        slot.born_ns.store(now().0, Ordering::SeqCst);
        slot.pid.store(pid, Ordering::SeqCst);
        Some(index)
    }

    /// Stamps that the process is about to exit: the last thing it does before `_exit`.
    pub fn exiting(&self, row: Option<usize>) {
        let page = self.page();
        page.deaths.fetch_add(1, Ordering::SeqCst);
        let at = now().0;
        if let Some(slot) = row.and_then(|i| page.slots.get(i)) {
            slot.exit_ns.store(at, Ordering::SeqCst);
        }
        page.last_exit_ns.fetch_max(at, Ordering::SeqCst);
    }

    /// Says that the tree is complete and can be killed; wakes the observer that waits for that.
    /// Returns whether nobody had said it before.
    pub fn set_ready(&self) -> bool {
        let first = self.page().ready.swap(1, Ordering::SeqCst) == 0;
        if first {
            // The observer may not be waiting; the word has been set before, so nothing is lost.
            match futex::wake_all(&self.page().ready) {
                Ok(_) | Err(_) => {}
            }
        }
        first
    }

    /// Arrives at barrier `index` and waits until `count` have arrived.
    pub fn barrier(&self, index: usize, count: u32) {
        let Some(word) = self.page().barriers.get(index) else {
            return;
        };
        let mut arrived = word.fetch_add(1, Ordering::SeqCst) + 1;
        if arrived >= count {
            match futex::wake_all(word) {
                Ok(_) | Err(_) => {}
            }
        }
        while arrived < count {
            // EAGAIN, EINTR and a time-out all mean: check again.
            match futex::wait(word, arrived, Duration::from_secs(1)) {
                Ok(()) | Err(_) => arrived = word.load(Ordering::SeqCst),
            }
        }
    }

    /// Asks the process outside of the tree to do its part, once, and waits until it has. Waits for
    /// ever where there is none.
    pub fn ask(&self) {
        self.barrier(ASKED, 2);
        self.barrier(ANSWERED, 2);
    }

    /// The other side: waits until an actor has called [`Ledger::ask`].
    pub fn wait_asked(&self) {
        self.barrier(ASKED, 2);
    }

    /// Lets the actor that has asked go on.
    pub fn answer(&self) {
        self.barrier(ANSWERED, 2);
    }

    /// Waits until the observer has called [`Ledger::let_go`].
    pub fn wait_go(&self) {
        while self.page().go.load(Ordering::SeqCst) == 0 {
            match futex::wait(&self.page().go, 0, Duration::from_secs(1)) {
                Ok(()) | Err(_) => {}
            }
        }
    }

    // ---- used by observer and oracle
    // ------------------------------------------------------------------------------------------

    /// Opens the way for actors in [`Ledger::wait_go`].
    pub fn let_go(&self) {
        self.page().go.store(1, Ordering::SeqCst);
        match futex::wake_all(&self.page().go) {
            Ok(_) | Err(_) => {}
        }
    }

    /// Waits until an actor has called [`Ledger::set_ready`]; false if `deadline` passed before.
    pub fn wait_ready(&self, deadline: MonoNs) -> bool {
        let word = &self.page().ready;
        while word.load(Ordering::SeqCst) == 0 {
            let left = deadline.remaining();
            if left.is_zero() {
                return false;
            }
            match futex::wait(word, 0, left) {
                Ok(()) | Err(_) => {}
            }
        }
        true
    }

    /// The sums as they are now.
    pub fn sums(&self) -> Sums {
        let page = self.page();
        let stamp = |word: &AtomicU64| match word.load(Ordering::SeqCst) {
            0 => None,
            ns => Some(MonoNs(ns)),
        };
        // Deaths are read before births, so a tree can seem to have more live processes than it
        // has, never fewer.
        let deaths = page.deaths.load(Ordering::SeqCst);
        Sums {
            deaths,
            births: page.births.load(Ordering::SeqCst),
            refused: page.refused.load(Ordering::SeqCst),
            last_exit: stamp(&page.last_exit_ns),
            first_refused: stamp(&page.first_refused_ns),
        }
    }

    /// The rows written so far.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let page = self.page();
        let claimed = usize::try_from(page.claimed.load(Ordering::SeqCst))
            .unwrap_or(SLOTS)
            .min(SLOTS);
        page.slots[..claimed].iter().filter_map(|slot| {
            let pid = slot.pid.load(Ordering::SeqCst);
            let exit = slot.exit_ns.load(Ordering::SeqCst);
            (pid != 0).then(|| Entry {
                pid,
                born: MonoNs(slot.born_ns.load(Ordering::SeqCst)),
                exit: (exit != 0).then_some(MonoNs(exit)),
            })
        })
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length and not used after this point. Failure would
        // leave a mapping, nothing worse.
        match unsafe { munmap(self.at.cast(), size_of::<Layout>()) } {
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_show_the_same_page() {
        let ledger = Ledger::create().unwrap();
        let actor = Ledger::open(ledger.memfd().unwrap()).unwrap();
        actor.announce();
        let row = actor.born(42);
        assert_eq!(
            ledger.sums(),
            Sums {
                births: 1,
                ..Sums::default()
            }
        );
        actor.announce();
        actor.refused();
        actor.exiting(row);
        let sums = ledger.sums();
        assert_eq!((sums.births, sums.deaths, sums.refused), (1, 1, 1));
        let entries: Vec<_> = ledger.entries().collect();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].exit, sums.last_exit);
        assert!(entries[0].born <= sums.last_exit.unwrap());
    }

    #[test]
    fn rows_run_out_but_sums_do_not() {
        let ledger = Ledger::create().unwrap();
        for pid in 1..=i32::try_from(SLOTS).unwrap() + 5 {
            ledger.announce();
            let row = ledger.born(pid);
            ledger.exiting(row);
        }
        assert_eq!(ledger.entries().count(), SLOTS);
        assert_eq!(usize::try_from(ledger.sums().deaths).unwrap(), SLOTS + 5);
    }

    #[test]
    fn ready_is_seen_by_a_late_waiter_and_a_deadline_by_an_early_one() {
        let ledger = Ledger::create().unwrap();
        assert!(!ledger.wait_ready(now() + Duration::from_millis(1)));
        ledger.set_ready();
        assert!(ledger.wait_ready(MonoNs(0)));
        ledger.barrier(0, 1);
    }
}
