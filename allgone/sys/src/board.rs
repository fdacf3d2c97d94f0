//! A shared page with a row for each of many processes that do nothing but sleep until they are
//! told to end.
//!
//! A row addresses one of ten thousand processes without a descriptor: the process sleeps on a
//! word, is woken through it, and stamps the moment just before it exits. Made before the fork,
//! inherited by it.
//!
//! Sources: mmap(2), futex(2). No privilege.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::futex;
use crate::time::{MonoNs, now};

/// How often a sleeper checks its word without being woken. Long, because there may be ten thousand
/// of them.
const LOOK: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
#[repr(C)]
struct Row {
    go: AtomicU32,
    _pad: u32,
    exit_ns: AtomicU64,
}

/// The page.
#[derive(Debug)]
pub struct Board {
    at: NonNull<Row>,
    bytes: NonZeroUsize,
    rows: usize,
}

// SAFETY: the page consists of atomics only, and the mapping lives as long as the value.
unsafe impl Send for Board {}

impl Board {
    /// Makes one with `rows` rows. Errors: `EINVAL` no rows, `ENOMEM`.
    pub fn create(rows: usize) -> Result<Self, Errno> {
        let bytes = rows
            .checked_mul(size_of::<Row>())
            .and_then(NonZeroUsize::new)
            .ok_or(Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let at = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_SHARED) }?;
        Ok(Self {
            at: at.cast(),
            bytes,
            rows,
        })
    }

    fn rows(&self) -> &[Row] {
        // SAFETY: mapped for the life of `self`, page-aligned and `rows` long; zero bytes are valid
        // atomics, and all access is atomic.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.rows) }
    }

    /// Clears a row for its next process. Called before the fork.
    pub fn clear(&self, row: usize) {
        if let Some(row) = self.rows().get(row) {
            row.exit_ns.store(0, Ordering::SeqCst);
            row.go.store(0, Ordering::SeqCst);
        }
    }

    /// The main function of a sleeper: sleeps until [`Board::end`], then stamps. It has to exit
    /// right after that. Allocates nothing.
    pub fn sleep(&self, row: usize) {
        let Some(row) = self.rows().get(row) else {
            return;
        };
        while row.go.load(Ordering::SeqCst) == 0 {
            // EAGAIN, EINTR and a time-out all mean: check again.
            match futex::wait(&row.go, 0, LOOK) {
                Ok(()) | Err(_) => {}
            }
        }
        row.exit_ns.store(now().0, Ordering::SeqCst);
    }

    /// Tells the sleeper of a row to end.
    pub fn end(&self, row: usize) {
        if let Some(row) = self.rows().get(row) {
            row.go.store(1, Ordering::SeqCst);
            // The process may not be asleep yet; the word has been set before, so nothing is lost.
            match futex::wake_all(&row.go) {
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// When the process of a row stamped its exit, if it has.
    pub fn exit(&self, row: usize) -> Option<MonoNs> {
        match self.rows().get(row)?.exit_ns.load(Ordering::SeqCst) {
            0 => None,
            ns => Some(MonoNs(ns)),
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: mapped by `create` with this length and not used after this point. Failure would
        // leave a mapping, nothing worse.
        match unsafe { munmap(self.at.cast(), self.bytes.get()) } {
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_to_end_and_stamps() {
        let board = Board::create(3).unwrap();
        assert_eq!(board.exit(1), None);
        board.end(1);
        let before = now();
        board.sleep(1);
        assert!(board.exit(1).is_some_and(|at| at >= before));
        assert_eq!((board.exit(0), board.exit(7)), (None, None));
        board.clear(1);
        assert_eq!(board.exit(1), None);
        assert_eq!(Board::create(0).unwrap_err(), Errno::EINVAL);
    }
}
