//! System calls that only actors make: what a hostile program does to be hard to find.
//!
//! Async-signal-safe; nothing here allocates.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::check;

/// A descriptor of its own for what was inherited under `number`. That one stays open: an actor closes nothing unless told.
///
/// Source: fcntl(2), `F_DUPFD_CLOEXEC`. Errors: `EBADF` nothing was inherited there.
pub fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: integers only.
    let copy = check(libc::c_long::from(unsafe {
        libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0)
    }))?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(copy).map_err(|_| Errno::EBADF)?) })
}

/// Closes every descriptor of this process. Mappings stay.
///
/// Source: close_range(2), Linux 5.9. `ENOSYS` before; an actor then reports that it could not play its part.
pub fn close_all() -> Result<(), Errno> {
    // SAFETY: integers only. The callers (actors) own nothing that would use a descriptor afterwards.
    check(unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32) }).map(|_| ())
}

/// Ignores every signal that can be ignored, but for `SIGCHLD`: ignoring that one would make children vanish without a zombie, which
/// is another scenario.
///
/// Sources: signal(7), sigaction(2).
pub fn ignore_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        if signal != libc::SIGCHLD {
            // SAFETY: SIG_IGN is a valid disposition. EINVAL (SIGKILL, SIGSTOP, the two of glibc) is expected and leaves them as they are.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}
