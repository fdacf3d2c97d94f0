//! Process descriptors: a reference to a process that can never refer to another one.
//!
//! Sources: pidfd_open(2), pidfd_send_signal(2), ioctl PIDFD_GET_INFO in
//! include/uapi/linux/pidfd.h.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::check;

/// `PIDFD_SELF`-free open of a live or zombie process of this PID namespace (`pidfd_open`, Linux
/// 5.3).
///
/// The number may have been reused since it was read: verify with [`info`] where that matters.
/// Errors: `ESRCH` no such process, `EMFILE`, `ENOSYS` before 5.3 or under seccomp.
pub fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two integers and no memory.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the kernel has just returned this descriptor to us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::EBADF)?) })
}

/// Sends `signal` to exactly the process behind `pidfd` (Linux 5.1). `None` only checks that it
/// could be sent.
///
/// Errors: `ESRCH` it is gone (or reaped), `EPERM`.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: Option<Signal>) -> Result<(), Errno> {
    send_signal_scoped(pidfd, signal, 0)
}

/// `PIDFD_SIGNAL_PROCESS_GROUP`: signal the process group of the process (Linux 6.9).
pub const SIGNAL_PROCESS_GROUP: u32 = 1 << 2;

/// As [`send_signal`], with a scope flag such as [`SIGNAL_PROCESS_GROUP`]. `EINVAL`: this kernel
/// does not know the flag.
pub fn send_signal_scoped(
    pidfd: BorrowedFd<'_>,
    signal: Option<Signal>,
    scope: u32,
) -> Result<(), Errno> {
    let number = signal.map_or(0, |s| s as i32);
    // SAFETY: the siginfo pointer is null, which the call defines as "as kill(2) would"; the rest
    // are integers.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            0usize,
            scope,
        )
    };
    check(ret).map(|_| ())
}

/// Makes descriptor number `slot` mean what `with` means, and closes what it meant before, in one
/// step. Its owner keeps the number.
///
/// Source: dup3(2). Errors: `EINVAL` both are the same number.
pub fn replace(slot: BorrowedFd<'_>, with: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: both descriptors are open for the call; the slot stays open and keeps its owner.
    check(libc::c_long::from(unsafe {
        libc::dup3(with.as_raw_fd(), slot.as_raw_fd(), libc::O_CLOEXEC)
    }))
    .map(|_| ())
}

/// Whether the process has ended (it may still be a zombie): a level read that never sleeps.
///
/// Source: pidfd_open(2), "poll": the descriptor is readable when the last thread has exited.
pub fn has_exited(pidfd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? == 1)
}

/// The first fields of the kernel's `struct pidfd_info` (64 bytes, `PIDFD_INFO_SIZE_VER0`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct RawInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    exit_code: i32,
}

const INFO_PID: u64 = 1 << 0;
const INFO_CREDS: u64 = 1 << 1;
const INFO_CGROUPID: u64 = 1 << 2;
/// `_IOWR(PIDFS_IOCTL_MAGIC = 0xFF, 11, struct pidfd_info)` with the 64-byte structure.
const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;

/// The kernel's information about the process behind a pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Thread-group id in the caller's PID namespace; 0 if it is not visible there.
    pub tgid: i32,
    /// Parent's thread-group id, 0 if not visible.
    pub ppid: i32,
    /// Effective user id.
    pub euid: u32,
    /// Inode number of the process's cgroup v2 directory, if the kernel gave it.
    pub cgroup_id: Option<u64>,
}

/// Asks the kernel which process is behind `pidfd` (`PIDFD_GET_INFO`, Linux 6.13; no privilege).
///
/// Errors: `ENOTTY` an older kernel, `ESRCH` the process has been reaped.
#[expect(clippy::cast_possible_wrap, reason = "pids are at most 2^22")]
pub fn info(pidfd: BorrowedFd<'_>) -> Result<Info, Errno> {
    let mut raw = RawInfo {
        mask: INFO_PID | INFO_CREDS | INFO_CGROUPID,
        ..RawInfo::default()
    };
    // SAFETY: the request encodes the size of `RawInfo`, which is live and writable for the call.
    let ret = unsafe {
        libc::ioctl(
            pidfd.as_raw_fd(),
            PIDFD_GET_INFO,
            std::ptr::from_mut(&mut raw),
        )
    };
    check(libc::c_long::from(ret))?;
    Ok(Info {
        tgid: raw.tgid as i32,
        ppid: raw.ppid as i32,
        euid: raw.euid,
        cgroup_id: (raw.mask & INFO_CGROUPID != 0).then_some(raw.cgroupid),
    })
}

/// `_IO(PIDFS_IOCTL_MAGIC = 0xFF, 3)`.
const PIDFD_GET_MNT_NAMESPACE: libc::Ioctl = 0xFF03;

/// The mount namespace of the process behind `pidfd` (`PIDFD_GET_MNT_NAMESPACE`, Linux 6.11). It
/// stays, with all that is mounted in it, as long as this descriptor is open.
///
/// Errors: `ENOTTY` an older kernel, `ESRCH` the process has ended. Privilege as `ptrace` read.
/// Source: fs/pidfs.c `pidfd_ioctl()`.
pub fn mount_namespace(pidfd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes no argument.
    let ret = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_MNT_NAMESPACE, 0usize) };
    let fd = check(libc::c_long::from(ret))?;
    // SAFETY: the kernel has just returned this descriptor to us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::EBADF)?) })
}

/// Asks the kernel to reclaim the memory of a process that has a fatal signal pending
/// (`process_mrelease`, Linux 5.15).
///
/// Errors: `EINVAL` it is not dying, `ESRCH`, `EAGAIN` memory is locked just now, `ENOSYS`.
/// Privilege as `ptrace` read. Source: mm/oom_kill.c, SYSCALL_DEFINE2(process_mrelease).
pub fn mrelease(pidfd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the call takes two integers and no memory.
    check(unsafe { libc::syscall(libc::SYS_process_mrelease, pidfd.as_raw_fd(), 0) }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_structure_has_the_size_of_the_request() {
        assert_eq!(size_of::<RawInfo>(), 64);
        assert_eq!((PIDFD_GET_INFO >> 16) & 0x3FFF, 64);
    }

    #[test]
    fn one_can_open_oneself() {
        let me = open(Pid::this()).unwrap();
        assert_eq!(has_exited(me.as_fd()), Ok(false));
        assert_eq!(send_signal(me.as_fd(), None), Ok(()));
        match info(me.as_fd()) {
            Ok(info) => assert_eq!(info.tgid, Pid::this().as_raw()),
            Err(errno) => assert_eq!(errno, Errno::ENOTTY, "only a kernel before 6.13 may refuse"),
        }
    }

    #[test]
    fn a_mount_namespace_is_that_of_the_process() {
        use std::os::unix::fs::MetadataExt;
        let me = open(Pid::this()).unwrap();
        match mount_namespace(me.as_fd()) {
            Ok(of_me) => {
                let of_me = std::fs::File::from(of_me).metadata().unwrap();
                let named = std::fs::metadata("/proc/self/ns/mnt").unwrap();
                assert_eq!((of_me.dev(), of_me.ino()), (named.dev(), named.ino()));
            }
            Err(errno) => assert_eq!(errno, Errno::ENOTTY, "only a kernel before 6.11 may refuse"),
        }
    }

    #[test]
    fn a_pid_that_cannot_exist_is_esrch() {
        assert_eq!(open(Pid::from_raw(i32::MAX)).unwrap_err(), Errno::ESRCH);
    }
}
