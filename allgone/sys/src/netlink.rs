//! A netlink socket that sends and receives bytes; the caller interprets them.
//!
//! nix lacks `NETLINK_CONNECTOR`. Sources: netlink(7), include/uapi/linux/cn_proc.h,
//! include/uapi/linux/taskstats.h.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::check;

/// Process events (`CONFIG_PROC_EVENTS`).
pub const CONNECTOR: libc::c_int = libc::NETLINK_CONNECTOR;
/// Generic netlink.
pub const GENERIC: libc::c_int = libc::NETLINK_GENERIC;

/// A non-blocking netlink socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens one for `protocol`, bound to the multicast `groups` (a mask). Errors:
    /// `EPROTONOSUPPORT`, `EPERM` for groups that need root.
    pub fn open(protocol: libc::c_int, groups: u32) -> Result<Self, Errno> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: integers only.
        let fd = check(libc::c_long::from(unsafe {
            libc::socket(libc::AF_NETLINK, kind, protocol)
        }))?;
        // SAFETY: the kernel has just made this descriptor for us.
        let socket =
            Self(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::EBADF)?) });
        // SAFETY: an all-zero address is valid: the kernel chooses the port.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family =
            libc::sa_family_t::try_from(libc::AF_NETLINK).map_err(|_| Errno::EINVAL)?;
        address.nl_groups = groups;
        // SAFETY: a live address and its size.
        check(libc::c_long::from(unsafe {
            libc::bind(
                socket.0.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>())
                    .map_err(|_| Errno::EINVAL)?,
            )
        }))?;
        Ok(socket)
    }

    /// Asks for a receive buffer of `bytes` beyond the usual limit (`SO_RCVBUFFORCE`,
    /// `CAP_NET_ADMIN`).
    pub fn force_buffer(&self, bytes: i32) -> Result<(), Errno> {
        // SAFETY: a live integer and its size.
        check(libc::c_long::from(unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                std::ptr::from_ref(&bytes).cast(),
                libc::socklen_t::try_from(size_of::<i32>()).map_err(|_| Errno::EINVAL)?,
            )
        }))
        .map(|_| ())
    }

    /// Sends one message to the kernel.
    pub fn send(&self, message: &[u8]) -> Result<(), Errno> {
        // SAFETY: a live buffer and its length.
        let sent = unsafe {
            libc::send(
                self.0.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
            )
        };
        check(sent as libc::c_long).map(|_| ())
    }

    /// Receives one datagram. Errors: `EAGAIN` there is none, `ENOBUFS` some were lost.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        // SAFETY: a writable buffer and its length.
        let length = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        let length = usize::try_from(check(length as libc::c_long)?).map_err(|_| Errno::EIO)?;
        Ok(&buffer[..length])
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One message of a datagram: its type and what follows the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// Behind the header.
    pub payload: &'a [u8],
}

/// Wraps `payload` in a header of type `kind`.
pub fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // Sequence number and port: none.
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

const HEADER: usize = 16;

/// Cuts a datagram into messages; stops at the first that is malformed.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length =
            usize::try_from(u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?)).ok()?;
        let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
        let payload = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Message { kind, payload })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_can_be_cut_out_again() {
        let mut datagram = message(16, 0, b"abc");
        datagram.extend(message(3, 0, b""));
        let cut: Vec<_> = messages(&datagram).collect();
        assert_eq!(cut.len(), 2);
        assert_eq!((cut[0].kind, cut[0].payload), (16, &b"abc"[..]));
        assert_eq!(messages(&[0; 16]).count(), 0, "a length of zero ends it");
        assert_eq!(messages(&datagram[..10]).count(), 0);
    }

    #[test]
    fn generic_netlink_answers() {
        let socket = Socket::open(GENERIC, 0).unwrap();
        assert_eq!(socket.receive(&mut [0; 64]), Err(Errno::EAGAIN));
    }
}
