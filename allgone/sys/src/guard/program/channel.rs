//! What comes from the host, and what goes to it: messages with descriptors.
//!
//! Sources: unix(7), sendmsg(2), recvmsg(2), cmsg(3).

use super::call::Fd;
use super::raw::{Errno, number, syscall};
use super::wire::{self, Notice};

/// `struct iovec`.
#[repr(C)]
struct Vector {
    base: usize,
    length: usize,
}

/// `struct msghdr`.
#[repr(C)]
struct Message {
    name: usize,
    name_length: usize,
    vectors: usize,
    count: usize,
    control: usize,
    control_length: usize,
    flags: u32,
}

/// Bytes of `struct cmsghdr`; descriptors follow it.
const CONTROL_HEADER: usize = 16;
/// `SOL_SOCKET` as level and `SCM_RIGHTS` as type, 1 each, in one word.
const RIGHTS: u64 = 1 << 32 | 1;
/// Words that hold a header and as many descriptors as may come.
pub(crate) const CONTROL_WORDS: usize = (CONTROL_HEADER + 4 * (wire::DESCRIPTORS + 1)) / 8;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A request of so many bytes, with so many descriptors.
    Request(usize, usize),
    /// One that was cut: too long, or there was no room for its descriptors. Those that came count.
    Cut(Errno, usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    End,
}

/// recvmsg(2) of one request, not blocking.
pub(crate) fn receive(
    socket: Fd,
    bytes: &mut [u8],
    control: &mut [u64; CONTROL_WORDS],
    fds: &mut [Fd; wire::DESCRIPTORS],
) -> Came {
    const MSG_CTRUNC: u32 = 8;
    const MSG_TRUNC: u32 = 0x20;
    const MSG_DONTWAIT: usize = 0x40;
    const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    let vector = Vector {
        base: bytes.as_mut_ptr() as usize,
        length: bytes.len(),
    };
    let mut message = Message {
        name: 0,
        name_length: 0,
        vectors: core::ptr::from_ref(&vector) as usize,
        count: 1,
        control: control.as_mut_ptr() as usize,
        control_length: size_of_val(control),
        flags: 0,
    };
    let at = core::ptr::from_mut(&mut message) as usize;
    let Ok(socket) = usize::try_from(socket) else {
        return Came::End;
    };
    let flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
    // SAFETY: the structure, and what it points to, is live and as long as it says.
    let length = match unsafe { syscall(number::RECVMSG, [socket, at, flags, 0, 0, 0]) } {
        Err(Errno::AGAIN | Errno::INTR) => return Came::Nothing,
        Ok(0) | Err(_) => return Came::End,
        Ok(length) => length,
    };
    let mut count = 0;
    if message.control_length > CONTROL_HEADER && control[1] == RIGHTS {
        let bytes = usize::try_from(control[0]).unwrap_or(0);
        count = (bytes.saturating_sub(CONTROL_HEADER) / size_of::<Fd>()).min(fds.len());
        for (place, fd) in fds.iter_mut().enumerate().take(count) {
            let word = control[2 + place / 2].to_ne_bytes();
            let half = if place % 2 == 0 {
                &word[..4]
            } else {
                &word[4..]
            };
            *fd = wire::take::<i32>(half).map_or(-1, |(fd, _)| fd);
        }
    }
    if message.flags & MSG_CTRUNC != 0 {
        Came::Cut(Errno::MFILE, count)
    } else if message.flags & MSG_TRUNC != 0 {
        Came::Cut(Errno::TOO_BIG, count)
    } else {
        Came::Request(length, count)
    }
}

/// sendmsg(2) of a notice, with a descriptor if there is one. Does not block and does not fail: a
/// host that has closed its end does not want to know.
pub(crate) fn tell(channel: Fd, notice: &Notice, fd: Option<Fd>) {
    const MSG_DONTWAIT: usize = 0x40;
    const MSG_NOSIGNAL: usize = 0x4000;
    let bytes = wire::bytes(notice);
    let vector = Vector {
        base: bytes.as_ptr() as usize,
        length: bytes.len(),
    };
    let number = u64::from(fd.unwrap_or(-1).unsigned_abs());
    let control = [
        (CONTROL_HEADER + size_of::<Fd>()) as u64,
        RIGHTS,
        u64::from_le(number),
    ];
    let message = Message {
        name: 0,
        name_length: 0,
        vectors: core::ptr::from_ref(&vector) as usize,
        count: 1,
        control: if fd.is_some() {
            control.as_ptr() as usize
        } else {
            0
        },
        control_length: if fd.is_some() {
            size_of_val(&control)
        } else {
            0
        },
        flags: 0,
    };
    let at = core::ptr::from_ref(&message) as usize;
    let Ok(channel) = usize::try_from(channel) else {
        return;
    };
    // SAFETY: the structure, and what it points to, is live and as long as it says.
    match unsafe {
        syscall(
            number::SENDMSG,
            [channel, at, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0, 0],
        )
    } {
        Ok(_) | Err(_) => {}
    }
}
