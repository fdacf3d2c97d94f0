//! Just enough netlink to send a request and read the answer.
//!
//! Sources: netlink(7), include/uapi/linux/{netlink,genetlink,taskstats,cn_proc,connector}.h.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, send};

use crate::error::retry_eintr;

pub(super) const NETLINK_CONNECTOR: i32 = 11;
pub(super) const NETLINK_GENERIC: i32 = 16;

/// `NLMSG_ERROR`, and the controller family of generic netlink.
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const GENL_ID_CTRL: u16 = 16;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// One message: its type, and what follows the header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub kind: u16,
    pub payload: Vec<u8>,
}

impl Socket {
    /// Opens and binds to `groups`.
    pub(super) fn open(protocol: i32, groups: u32) -> Result<Self, Errno> {
        let fd = crate::sys::probe::netlink_socket(protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(fd))
    }

    /// Sends one message to the kernel; `ack` asks for an answer in any case.
    pub(super) fn send(&self, kind: u16, ack: bool, payload: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(payload.len() + 16).map_err(|_| Errno::EMSGSIZE)?;
        let flags = NLM_F_REQUEST | if ack { NLM_F_ACK } else { 0 };
        let mut message = Vec::with_capacity(payload.len() + 16);
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(payload);
        send(self.0.as_raw_fd(), &message, MsgFlags::empty()).map(|_| ())
    }

    /// Receives one message. `ETIMEDOUT`: nothing came.
    pub(super) fn receive(&self, within: Duration) -> Result<Message, Errno> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
        if retry_eintr(|| poll(&mut fds, timeout))? == 0 {
            return Err(Errno::ETIMEDOUT);
        }
        let mut buffer = vec![0; 8192];
        let n = retry_eintr(|| recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()))?;
        buffer.truncate(n);
        parse(&buffer).ok_or(Errno::EBADMSG)
    }
}

/// The first message of a datagram.
fn parse(datagram: &[u8]) -> Option<Message> {
    let length = usize::try_from(u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    Some(Message {
        kind,
        payload: datagram.get(16..length)?.to_vec(),
    })
}

impl Message {
    /// The error that a message of type `NLMSG_ERROR` carries; `None` for an acknowledgement.
    pub(super) fn error(&self) -> Option<Errno> {
        let code = self
            .payload
            .get(..4)
            .and_then(|b| b.try_into().ok())
            .map(i32::from_ne_bytes);
        match code {
            Some(0) => None,
            Some(code) => Some(Errno::from_raw(code.saturating_neg())),
            None => Some(Errno::EBADMSG),
        }
    }
}

/// An attribute, padded to four bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(value.len() + 8);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Finds an attribute among those that follow one another in `bytes`.
pub(super) fn find_attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let this = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        if this == kind {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_are_found_behind_their_padding() {
        let mut bytes = attribute(7, b"abcde");
        bytes.extend(attribute(1, &258u16.to_ne_bytes()));
        assert_eq!(find_attribute(&bytes, 1), Some(&258u16.to_ne_bytes()[..]));
        assert_eq!(find_attribute(&bytes, 7), Some(&b"abcde"[..]));
        assert_eq!(find_attribute(&bytes, 2), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_loop(bytes in prop::collection::vec(any::<u8>(), 0..64),
            kind in 0u16..4) {
            prop_assert!(find_attribute(&bytes,
                kind).is_none_or(|value| value.len() < bytes.len()));
            prop_assert!(parse(&bytes).is_none_or(|m| m.payload.len() + 16 <= bytes.len()));
        }
    }
}
