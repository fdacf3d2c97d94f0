//! Descriptors that a program was started with, and knows by their numbers only.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::check;

/// A copy of descriptor `number`, above the standard streams and closed at exec.
///
/// Source: fcntl(2) `F_DUPFD_CLOEXEC`. Errors: `EBADF` there is none, `EMFILE`.
pub fn copy(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: integers.
    let copy = check(libc::c_long::from(unsafe {
        libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3)
    }))?;
    // SAFETY: the kernel has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(copy).map_err(|_| Errno::EBADF)?) })
}

/// Keeps descriptor `number` from whatever is executed by this process or a copy of it.
///
/// Source: fcntl(2) `FD_CLOEXEC`. Errors: `EBADF`.
pub fn close_at_exec(number: RawFd) -> Result<(), Errno> {
    // SAFETY: integers.
    let ret = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    check(libc::c_long::from(ret)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_copy_is_another_number() {
        assert!(copy(0).unwrap().as_raw_fd() > 2);
        assert_eq!(copy(-1).unwrap_err(), Errno::EBADF);
        assert_eq!(close_at_exec(-1), Err(Errno::EBADF));
    }
}
