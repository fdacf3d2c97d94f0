//! An allocator that ends the process if it allocates where it must not.
//!
//! For tests of code that must not allocate (actors, the child's side of a spawn): declare it as
//! the test program's global allocator.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::spawn::exit_now;

/// Exit code of a process that allocated where it must not.
pub const FORBIDDEN: i32 = 86;

/// The system's allocator, guarded by a check.
#[derive(Clone, Copy, Debug)]
pub struct Guarded {
    forbidden: fn() -> bool,
}

impl Guarded {
    /// `forbidden` is called before every allocation; it must not allocate itself. Freeing memory
    /// is always allowed.
    pub const fn new(forbidden: fn() -> bool) -> Self {
        Self { forbidden }
    }

    fn ask(self) {
        if (self.forbidden)() {
            exit_now(FORBIDDEN);
        }
    }
}

// SAFETY: every call is passed to the system's allocator unchanged, or the process ends.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.ask();
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.ask();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}
