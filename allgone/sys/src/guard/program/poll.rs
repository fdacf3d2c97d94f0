//! Waiting: one epoll instance, for the socket, the host, signals, and jobs.
//!
//! Source: epoll(7).

use super::call::Fd;
use super::raw::{Errno, number, syscall};

/// Something is to be read.
pub(crate) const IN: u32 = 1;
/// A file of a cgroup has changed.
pub(crate) const PRI: u32 = 2;

/// `struct epoll_event`, which x86-64 packs.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
pub(crate) struct Event {
    events: u32,
    token: u64,
}

impl Event {
    pub(crate) const NONE: Self = Self {
        events: 0,
        token: 0,
    };

    /// What was given to [`Poll::add`].
    pub(crate) fn token(self) -> u64 {
        self.token
    }
}

/// An epoll instance.
#[derive(Clone, Copy)]
pub(crate) struct Poll(Fd);

impl Poll {
    /// epoll_create1(2).
    pub(crate) fn new() -> Result<Self, Errno> {
        const EPOLL_CLOEXEC: usize = 0o2_000_000;
        // SAFETY: an integer.
        let fd = unsafe { syscall(number::EPOLL_CREATE1, [EPOLL_CLOEXEC, 0, 0, 0, 0, 0]) }?;
        Fd::try_from(fd).map(Self).map_err(|_| Errno::INVAL)
    }

    /// epoll_ctl(2) `EPOLL_CTL_ADD`. A descriptor that is closed leaves by itself, as long as no
    /// child has a copy.
    pub(crate) fn add(self, fd: Fd, events: u32, token: u64) -> Result<(), Errno> {
        const EPOLL_CTL_ADD: usize = 1;
        let event = Event { events, token };
        self.control(EPOLL_CTL_ADD, fd, &event)
    }

    /// epoll_ctl(2) `EPOLL_CTL_DEL`.
    pub(crate) fn remove(self, fd: Fd) {
        const EPOLL_CTL_DEL: usize = 2;
        match self.control(EPOLL_CTL_DEL, fd, &Event::NONE) {
            Ok(()) | Err(_) => {}
        }
    }

    fn control(self, operation: usize, fd: Fd, event: &Event) -> Result<(), Errno> {
        let at = core::ptr::from_ref(event) as usize;
        let (Ok(poll), Ok(fd)) = (usize::try_from(self.0), usize::try_from(fd)) else {
            return Err(Errno::INVAL);
        };
        // SAFETY: the structure is live.
        unsafe { syscall(number::EPOLL_CTL, [poll, operation, fd, at, 0, 0]) }.map(|_| ())
    }

    /// epoll_pwait(2). `timeout_ms`: -1 for ever. Returns how many of `events` are filled; none
    /// after a signal.
    #[expect(clippy::cast_sign_loss, reason = "the register of a C int")]
    pub(crate) fn wait(self, events: &mut [Event], timeout_ms: i32) -> Result<usize, Errno> {
        let (at, room) = (events.as_mut_ptr() as usize, events.len());
        let poll = usize::try_from(self.0).map_err(|_| Errno::INVAL)?;
        let timeout = timeout_ms as isize as usize;
        // SAFETY: the array is writable and this long; no mask.
        match unsafe { syscall(number::EPOLL_PWAIT, [poll, at, room, timeout, 0, 8]) } {
            Err(Errno::INTR) => Ok(0),
            filled => filled,
        }
    }
}
