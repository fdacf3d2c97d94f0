//! Waiting on a word of a shared page, across processes.
//!
//! Source: futex(2). No `FUTEX_PRIVATE_FLAG`: the word is shared between processes. Since Linux
//! 2.6.0; no privilege.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;

use crate::check;

/// Sleeps while `*word == expected`, at most for `timeout`.
///
/// Errors: `EAGAIN` the word had another value already, `ETIMEDOUT`, `EINTR`.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> Result<(), Errno> {
    let spec = nix::sys::time::TimeSpec::from_duration(timeout);
    // SAFETY: `word` is a live aligned u32 for the whole call, and `spec` outlives it; the kernel
    // writes to neither.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            std::ptr::from_ref(spec.as_ref()),
            0usize,
            0u32,
        )
    };
    check(ret).map(|_| ())
}

/// Wakes all sleepers on `word`; returns how many. Async-signal-safe.
pub fn wake_all(word: &AtomicU32) -> Result<u32, Errno> {
    // SAFETY: `word` is a live aligned u32; FUTEX_WAKE only uses its address.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE,
            i32::MAX,
            0usize,
            0usize,
            0u32,
        )
    };
    check(ret).map(|n| u32::try_from(n).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_does_not_sleep_and_a_quiet_one_times_out() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, Duration::from_secs(5)), Err(Errno::EAGAIN));
        assert_eq!(
            wait(&word, 1, Duration::from_millis(1)),
            Err(Errno::ETIMEDOUT)
        );
        assert_eq!(wake_all(&word), Ok(0));
    }
}
