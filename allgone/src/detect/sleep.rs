//! `ppoll(2)` until an absolute deadline.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::MonoNs;
use crate::error::SysError;
use crate::sys::time::now;

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// A descriptor is ready; when that was noticed.
    Woken(MonoNs),
    /// The deadline passed.
    Deadline,
}

/// Sleeps until one of `fds` is ready or `deadline` has passed. After an interruption it goes on
/// sleeping.
///
/// When the time is up, `ppoll` checks all descriptors once more (`fs/select.c`, `do_poll()`) and
/// finds changes for which it was not woken. That does not count as a wake-up: without a deadline
/// the sleep would never have ended. If the deadline has already passed, the descriptors are
/// checked once.
pub fn on(fds: &mut [PollFd<'_>], deadline: MonoNs) -> Result<Slept, SysError> {
    let looks_only = deadline.has_passed();
    loop {
        let left = TimeSpec::from_duration(deadline.remaining());
        match ppoll(fds, Some(left), None) {
            Ok(0) if deadline.has_passed() => return Ok(Slept::Deadline),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                let at = now();
                return Ok(if at < deadline || looks_only {
                    Slept::Woken(at)
                } else {
                    Slept::Deadline
                });
            }
            Err(e) => return Err(SysError::plain("ppoll", e)),
        }
    }
}

/// Whether `fd` is ready for one of `events` now. Does not sleep. An error or a hang-up counts.
pub fn is_ready(fd: BorrowedFd<'_>, events: PollFlags) -> Result<bool, SysError> {
    let mut fds = [PollFd::new(fd, events)];
    match ppoll(
        &mut fds,
        Some(TimeSpec::from_duration(std::time::Duration::ZERO)),
        None,
    ) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(e) => Err(SysError::plain("ppoll", e)),
    }
}

/// Sleeps until `at`, but not past `deadline`. For detectors that read at intervals.
pub fn until(at: MonoNs, deadline: MonoNs) -> Slept {
    let wake = at.min(deadline);
    while !wake.has_passed() {
        match crate::sys::time::sleep_until(wake) {
            // Only an interruption can end it early; the clock decides.
            Ok(()) | Err(_) => {}
        }
    }
    let now = now();
    if now >= deadline {
        Slept::Deadline
    } else {
        Slept::Woken(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_deadline_in_the_past_still_looks_once() {
        let (read, write) = nix::unistd::pipe().unwrap();
        let mut fds = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
        assert_eq!(on(&mut fds, MonoNs(0)).unwrap(), Slept::Deadline);
        drop(write);
        assert!(matches!(on(&mut fds, MonoNs(0)).unwrap(), Slept::Woken(_)));
    }

    #[test]
    fn an_interval_never_ends_after_the_deadline_unnoticed() {
        let soon = now() + Duration::from_millis(1);
        assert_eq!(
            until(now() + Duration::from_secs(60), soon),
            Slept::Deadline
        );
        assert!(matches!(
            until(MonoNs(0), now() + Duration::from_secs(60)),
            Slept::Woken(_)
        ));
    }
}
