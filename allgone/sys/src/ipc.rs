//! Objects of the kernel that outlive the processes that made them: System V shared memory,
//! semaphores and message queues, and POSIX message queues. Each is called by a tag.
//!
//! Async-signal-safe; nothing here allocates. Sources: sysvipc(7), mq_overview(7).

use std::ffi::CStr;

use nix::errno::Errno;

use crate::check;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A segment of shared memory: shmget(2).
    SharedMemory,
    /// A set of semaphores: semget(2).
    Semaphores,
    /// A message queue: msgget(2).
    Messages,
    /// A POSIX message queue: mq_open(3).
    PosixQueue,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::SharedMemory,
        Self::Semaphores,
        Self::Messages,
        Self::PosixQueue,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::SharedMemory => "System V shared memory",
            Self::Semaphores => "System V semaphores",
            Self::Messages => "System V message queue",
            Self::PosixQueue => "POSIX message queue",
        }
    }

    /// Makes one that has the name `tag`, for its user alone.
    ///
    /// Errors: `EEXIST` there is one; `EINVAL` the tag is 0; `ENOSPC`, `EMFILE`, `ENOMEM` a limit;
    /// `ENOSYS` the kernel is built without it.
    pub fn make(self, tag: u32) -> Result<(), Errno> {
        self.find(tag, true).map(|_| ())
    }

    /// Whether there is one that has the name `tag`. Errors: as [`Kind::make`].
    pub fn exists(self, tag: u32) -> Result<bool, Errno> {
        found(self.find(tag, false).map(|_| ()))
    }

    /// Removes the one that has the name `tag`; false: there was none. Privilege: its user's, or
    /// `CAP_SYS_ADMIN` (a POSIX queue: `CAP_FOWNER`).
    pub fn remove(self, tag: u32) -> Result<bool, Errno> {
        found(self.find(tag, false).and_then(|id| {
            let nothing = std::ptr::null_mut();
            let removed = match self {
                // SAFETY: the id is the kernel's, and IPC_RMID reads no further argument.
                Self::SharedMemory => unsafe { libc::shmctl(id, libc::IPC_RMID, nothing) },
                // SAFETY: as above.
                Self::Semaphores => unsafe { libc::semctl(id, 0, libc::IPC_RMID) },
                // SAFETY: as above.
                Self::Messages => unsafe { libc::msgctl(id, libc::IPC_RMID, nothing.cast()) },
                Self::PosixQueue => return unlink_queue(tag),
            };
            check(libc::c_long::from(removed)).map(|_| ())
        }))
    }

    /// The number of the object; 0 for a POSIX queue.
    fn find(self, tag: u32, make: bool) -> Result<libc::c_int, Errno> {
        // Key 0 is IPC_PRIVATE: a new object without a name.
        if tag == 0 {
            return Err(Errno::EINVAL);
        }
        let key = tag.cast_signed();
        let flags = match make {
            true => libc::IPC_CREAT | libc::IPC_EXCL | 0o600,
            false => 0,
        };
        let (bytes, semaphores) = if make { (4096, 1) } else { (0, 0) };
        let id = match self {
            // SAFETY: integers only.
            Self::SharedMemory => unsafe { libc::shmget(key, bytes, flags) },
            // SAFETY: as above.
            Self::Semaphores => unsafe { libc::semget(key, semaphores, flags) },
            // SAFETY: as above.
            Self::Messages => unsafe { libc::msgget(key, flags) },
            Self::PosixQueue => return open_queue(tag, make).map(|()| 0),
        };
        check(libc::c_long::from(id)).map(|_| id)
    }
}

fn found(tried: Result<(), Errno>) -> Result<bool, Errno> {
    match tried {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a queue and closes it; it stays.
fn open_queue(tag: u32, make: bool) -> Result<(), Errno> {
    let name = queue_name(tag);
    let flags = match make {
        true => libc::O_CREAT | libc::O_EXCL,
        false => 0,
    };
    // SAFETY: a C string without the slash that the C library takes away; without attributes the
    // queue has the system's.
    let opened = check(unsafe {
        libc::syscall(
            libc::SYS_mq_open,
            as_c_str(&name).as_ptr(),
            flags | libc::O_RDWR | libc::O_CLOEXEC,
            0o600 as libc::mode_t,
            std::ptr::null::<libc::mq_attr>(),
        )
    })?;
    let number = libc::c_int::try_from(opened).map_err(|_| Errno::EBADF)?;
    // SAFETY: the descriptor that has just been made.
    check(libc::c_long::from(unsafe { libc::close(number) })).map(|_| ())
}

fn unlink_queue(tag: u32) -> Result<(), Errno> {
    let name = queue_name(tag);
    // SAFETY: a C string.
    check(unsafe { libc::syscall(libc::SYS_mq_unlink, as_c_str(&name).as_ptr()) }).map(|_| ())
}

/// `allgone-` and eight hexadecimal digits.
fn queue_name(tag: u32) -> [u8; 17] {
    let mut name = *b"allgone-00000000\0";
    for (digit, byte) in name[8..16].iter_mut().enumerate() {
        let nibble = (tag >> (28 - 4 * digit)) & 0xf;
        *byte = *b"0123456789abcdef".get(nibble as usize).unwrap_or(&b'?');
    }
    name
}

fn as_c_str(name: &[u8; 17]) -> &CStr {
    CStr::from_bytes_until_nul(name).unwrap_or(c"allgone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_made_once_and_found_until_it_is_removed() {
        assert_eq!(queue_name(0x616c_09af), *b"allgone-616c09af\0");
        let tag = 0x7465_0000 | (std::process::id() & 0xffff);
        for kind in Kind::ALL {
            match kind.make(tag) {
                Ok(()) => {}
                Err(Errno::ENOSYS) => continue,
                Err(errno) => panic!("{}: {errno}", kind.name()),
            }
            assert_eq!(kind.make(tag), Err(Errno::EEXIST), "{}", kind.name());
            assert_eq!(kind.exists(tag), Ok(true), "{}", kind.name());
            assert_eq!(kind.remove(tag), Ok(true), "{}", kind.name());
            assert_eq!(kind.exists(tag), Ok(false), "{}", kind.name());
            assert_eq!(kind.remove(tag), Ok(false), "{}", kind.name());
            assert_eq!(kind.make(0), Err(Errno::EINVAL), "{}", kind.name());
        }
    }
}
