//! Descriptors that a program was started with and knows by their numbers only, and those that it
//! is sent.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

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

/// How many descriptors one message may bring.
pub const RECEIVED: usize = 16;

/// One message from a socket, and the descriptors that came with it. Never sleeps. 0 bytes: the
/// other end is closed.
///
/// Source: recvmsg(2), `SCM_RIGHTS` in unix(7). Errors: `EAGAIN` there is none; `EMFILE` there was
/// no room for the descriptors.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut room = nix::cmsg_space!([RawFd; RECEIVED]);
    let mut vectors = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut vectors, Some(&mut room), flags)?;
    let mut received = Vec::new();
    for control in message.cmsgs().map_err(|_| Errno::EMFILE)? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            let owned = numbers.into_iter().map(|number| {
                // SAFETY: the kernel has just made it for this process, and nothing else owns it.
                unsafe { OwnedFd::from_raw_fd(number) }
            });
            received.extend(owned);
        }
    }
    Ok((message.bytes, received))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_another_number() {
        assert!(copy(0).unwrap().as_raw_fd() > 2);
        assert_eq!(copy(-1).unwrap_err(), Errno::EBADF);
        assert_eq!(close_at_exec(-1), Err(Errno::EBADF));
    }
}
