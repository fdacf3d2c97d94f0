//! System calls on files, memory and time, one a function. What they are given lives for the call,
//! so they are safe; what they return is as the kernel gave it.

use core::ffi::CStr;

use super::raw::{Errno, number, syscall};

/// A descriptor's number. Nothing here closes by itself.
pub(crate) type Fd = i32;

pub(crate) fn fd(number: usize) -> Result<Fd, Errno> {
    Fd::try_from(number).map_err(|_| Errno::INVAL)
}

/// A descriptor or another `int` as an argument: sign-extended, as C passes it.
#[expect(clippy::cast_sign_loss, reason = "the register of a C int")]
pub(crate) const fn int(value: i32) -> usize {
    value as isize as usize
}

/// close(2). Whatever it says, the number is free.
pub(crate) fn close(fd: Fd) {
    if fd >= 0 {
        // SAFETY: integers.
        let closed = unsafe { syscall(number::CLOSE, [int(fd), 0, 0, 0, 0, 0]) };
        match closed {
            Ok(_) | Err(_) => {}
        }
    }
}

/// close_range(2), both ends included (Linux 5.9).
pub(crate) fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: integers.
    unsafe {
        syscall(
            number::CLOSE_RANGE,
            [first as usize, last as usize, 0, 0, 0, 0],
        )
    }
    .map(|_| ())
}

/// read(2).
pub(crate) fn read(from: Fd, into: &mut [u8]) -> Result<usize, Errno> {
    let (at, room) = (into.as_mut_ptr() as usize, into.len());
    // SAFETY: the buffer is writable and this long.
    unsafe { syscall(number::READ, [int(from), at, room, 0, 0, 0]) }
}

/// pread(2) from the beginning.
pub(crate) fn read_again(from: Fd, into: &mut [u8]) -> Result<usize, Errno> {
    let (at, room) = (into.as_mut_ptr() as usize, into.len());
    // SAFETY: the buffer is writable and this long.
    unsafe { syscall(number::PREAD64, [int(from), at, room, 0, 0, 0]) }
}

/// write(2).
pub(crate) fn write(to: Fd, bytes: &[u8]) -> Result<usize, Errno> {
    let (at, length) = (bytes.as_ptr() as usize, bytes.len());
    // SAFETY: the bytes are live.
    unsafe { syscall(number::WRITE, [int(to), at, length, 0, 0, 0]) }
}

/// `O_RDONLY`, `O_WRONLY`, `O_RDWR`, and `O_DIRECTORY`, which the two architectures number
/// differently.
pub(crate) const READ_ONLY: i32 = 0;
pub(crate) const WRITE_ONLY: i32 = 1;
pub(crate) const READ_WRITE: i32 = 2;
#[cfg(target_arch = "x86_64")]
pub(crate) const DIRECTORY: i32 = 0o200_000;
#[cfg(target_arch = "aarch64")]
pub(crate) const DIRECTORY: i32 = 0o40_000;
const CLOEXEC: i32 = 0o2_000_000;

/// openat(2) with `O_CLOEXEC`.
pub(crate) fn open(dir: Fd, name: &CStr, flags: i32) -> Result<Fd, Errno> {
    let name = name.as_ptr() as usize;
    // SAFETY: the name is live and ends in zero.
    unsafe {
        syscall(
            number::OPENAT,
            [int(dir), name, int(flags | CLOEXEC), 0, 0, 0],
        )
    }
    .and_then(fd)
}

/// Removes a directory: unlinkat(2) with `AT_REMOVEDIR`.
pub(crate) fn remove_dir(parent: Fd, name: &CStr) -> Result<(), Errno> {
    const AT_REMOVEDIR: usize = 0x200;
    let name = name.as_ptr() as usize;
    // SAFETY: the name is live and ends in zero.
    unsafe { syscall(number::UNLINKAT, [int(parent), name, AT_REMOVEDIR, 0, 0, 0]) }.map(|_| ())
}

/// mkdirat(2).
pub(crate) fn make_dir(parent: Fd, name: &CStr) -> Result<(), Errno> {
    let name = name.as_ptr() as usize;
    // SAFETY: the name is live and ends in zero.
    unsafe { syscall(number::MKDIRAT, [int(parent), name, 0o755, 0, 0, 0]) }.map(|_| ())
}

/// getdents64(2).
pub(crate) fn entries(dir: Fd, into: &mut [u8]) -> Result<usize, Errno> {
    let (at, room) = (into.as_mut_ptr() as usize, into.len());
    // SAFETY: the buffer is writable and this long.
    unsafe { syscall(number::GETDENTS64, [int(dir), at, room, 0, 0, 0]) }
}

/// The inode's number: statx(2), Linux 4.11.
pub(crate) fn inode(of: Fd) -> Result<u64, Errno> {
    const AT_EMPTY_PATH: usize = 0x1000;
    const STATX_INO: usize = 0x100;
    let mut room = [0u64; 32];
    let (name, at) = (c"".as_ptr() as usize, room.as_mut_ptr() as usize);
    // SAFETY: the name is a literal, and `struct statx` has 256 bytes.
    unsafe {
        syscall(
            number::STATX,
            [int(of), name, AT_EMPTY_PATH, STATX_INO, at, 0],
        )
    }?;
    Ok(room[4])
}

/// dup3(2) without flags: `to` stays open at exec. Errors: `EINVAL` both are the same.
pub(crate) fn copy_to(from: Fd, to: Fd) -> Result<(), Errno> {
    // SAFETY: integers.
    unsafe { syscall(number::DUP3, [int(from), int(to), 0, 0, 0, 0]) }.map(|_| ())
}

/// fcntl(2) `F_DUPFD_CLOEXEC`: the lowest free number that is not below `least`.
pub(crate) fn copy_above(from: Fd, least: Fd) -> Result<Fd, Errno> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    // SAFETY: integers.
    unsafe {
        syscall(
            number::FCNTL,
            [int(from), F_DUPFD_CLOEXEC, int(least), 0, 0, 0],
        )
    }
    .and_then(fd)
}

/// `struct flock`.
#[repr(C)]
struct Lock {
    kind: i16,
    whence: i16,
    start: i64,
    length: i64,
    pid: i32,
}

/// For reading, of byte 0: `F_RDLCK` is 0, and so are `SEEK_SET` and the start.
const TO_READ: Lock = Lock {
    kind: 0,
    whence: 0,
    start: 0,
    length: 1,
    pid: 0,
};

/// Waits until byte 0 of `file` is not locked for writing: fcntl(2) `F_SETLKW`.
pub(crate) fn wait_for_lock(file: Fd) -> Result<(), Errno> {
    const F_SETLKW: usize = 7;
    let at = core::ptr::from_ref(&TO_READ) as usize;
    // SAFETY: the structure is live, and only read.
    unsafe { syscall(number::FCNTL, [int(file), F_SETLKW, at, 0, 0, 0]) }.map(|_| ())
}

/// Whether another process has byte 0 of `file` locked for writing: fcntl(2) `F_GETLK`.
pub(crate) fn is_locked(file: Fd) -> Result<bool, Errno> {
    const F_GETLK: usize = 5;
    const F_UNLCK: i16 = 2;
    let mut lock = TO_READ;
    let at = core::ptr::from_mut(&mut lock) as usize;
    // SAFETY: the structure is live, and the kernel writes to it.
    unsafe { syscall(number::FCNTL, [int(file), F_GETLK, at, 0, 0, 0]) }?;
    Ok(lock.kind != F_UNLCK)
}

/// signalfd4(2) for this mask, not blocking.
pub(crate) fn signals(mask: u64) -> Result<Fd, Errno> {
    const FLAGS: usize = 0o2_004_000;
    let at = core::ptr::from_ref(&mask) as usize;
    // SAFETY: the set is live and has the size that is passed.
    unsafe { syscall(number::SIGNALFD4, [usize::MAX, at, 8, FLAGS, 0, 0]) }.and_then(fd)
}

/// CLOCK_MONOTONIC in nanoseconds: clock_gettime(2).
pub(crate) fn now_ns() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0u64; 2];
    let at = time.as_mut_ptr() as usize;
    // SAFETY: `struct timespec` is two words.
    match unsafe { syscall(number::CLOCK_GETTIME, [CLOCK_MONOTONIC, at, 0, 0, 0, 0]) } {
        Ok(_) | Err(_) => time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1]),
    }
}

/// Zeroed memory of its own: mmap(2). It is never given back: exec does.
pub(crate) fn memory(bytes: usize) -> Result<usize, Errno> {
    const READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    // SAFETY: an address that the kernel chooses.
    unsafe {
        syscall(
            number::MMAP,
            [0, bytes, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0],
        )
    }
}

/// A private view of a file: mmap(2).
pub(crate) fn view(file: Fd, bytes: usize) -> Result<usize, Errno> {
    const READ: usize = 1;
    const PRIVATE: usize = 2;
    // SAFETY: an address that the kernel chooses.
    unsafe { syscall(number::MMAP, [0, bytes, READ, PRIVATE, int(file), 0]) }
}
