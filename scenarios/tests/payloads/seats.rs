//! How many runs there are at a time: most of them sleep, and some keep all processors busy.

use std::sync::{Condvar, Mutex};

/// Runs that sleep, for each processor.
const EACH: usize = 6;

#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    /// The next number to be given, and the one whose turn it is: in the order of coming, or one
    /// that needs many would never get them.
    next: u64,
    turn: u64,
}

static SEATS: Mutex<Seats> = Mutex::new(Seats {
    taken: 0,
    next: 0,
    turn: 0,
});
static CHANGED: Condvar = Condvar::new();

/// How many there are.
pub(crate) fn all() -> usize {
    EACH * std::thread::available_parallelism().map_or(1, usize::from)
}

/// What one run has. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat(usize);

impl Seat {
    /// Waits for one; for more than half of all there are, if the run keeps the processors busy:
    /// one of those at a time, so that the end of what has hundreds of processes does not wait for
    /// that of another.
    pub(crate) fn take(busy: bool) -> Self {
        let wanted = if busy { all() / 2 + 1 } else { 1 };
        let mut seats = SEATS.lock().unwrap();
        let mine = seats.next;
        seats.next += 1;
        let mut seats = CHANGED
            .wait_while(seats, |seats| {
                seats.turn != mine || seats.taken + wanted > all()
            })
            .unwrap();
        seats.turn += 1;
        seats.taken += wanted;
        CHANGED.notify_all();
        Self(wanted)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        SEATS.lock().unwrap().taken -= self.0;
        CHANGED.notify_all();
    }
}
