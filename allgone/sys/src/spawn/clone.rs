//! `clone3(2)` and its predecessors: a copy of the calling thread, with a pidfd, optionally born in
//! a cgroup.
//!
//! Sources: clone3(2) (Linux 5.3; `CLONE_INTO_CGROUP` 5.7; `set_tid` 5.5), clone(2), kernel/fork.c.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::check;

/// `struct clone_args` up to `cgroup` (`CLONE_ARGS_SIZE_VER2`, Linux 5.7).
#[repr(C)]
#[derive(Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

pub(super) const CLONE_PIDFD: u64 = 0x1000;
/// Linux 5.5.
pub(super) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
pub(super) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `CLONE_PARENT`: the new process becomes a child of the caller's parent.
pub const CLONE_PARENT: u64 = 0x8000;
/// `CLONE_NEWPID`: the new process is the init of a new PID namespace. Needs `CAP_SYS_ADMIN`.
pub const CLONE_NEWPID: u64 = 0x2000_0000;
/// `CLONE_AUTOREAP` (Linux 7.1): no zombie, no `SIGCHLD`.
pub const CLONE_AUTOREAP: u64 = 1 << 34;
/// `CLONE_NNP` (Linux 7.1): `no_new_privs` for the child.
pub const CLONE_NNP: u64 = 1 << 35;
/// `CLONE_PIDFD_AUTOKILL` (Linux 7.1): the process is killed when the last reference to this pidfd
/// is closed.
pub const CLONE_PIDFD_AUTOKILL: u64 = 1 << 36;

/// Flags that leave the child a process of its own, with its own memory, descriptors and signal
/// handlers. All others (such as `CLONE_VM`) would let it write into the caller's, or want
/// arguments that are not given here.
/// `CLONE_VFORK` by itself only makes the caller wait.
const HARMLESS: u64 = CLONE_PARENT
    | CLONE_NEWPID
    | CLONE_AUTOREAP
    | CLONE_NNP
    | CLONE_PIDFD_AUTOKILL
    | (libc::CLONE_VFORK
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWNET) as u64;

pub(super) fn harmless(flags: u64) -> Result<u64, Errno> {
    if flags & !HARMLESS == 0 {
        Ok(flags)
    } else {
        Err(Errno::EINVAL)
    }
}

/// Forks without exec, with a pidfd and optionally into a cgroup. Returns `None` in the child.
///
/// Errors: `EINVAL` also for a flag that would share memory, descriptors or handlers with the
/// child; clone3(2).
///
/// # Safety
///
/// The child is a copy of the calling thread alone. If the process has other threads, the child may
/// only make async-signal-safe calls until it execs or exits.
pub(crate) unsafe fn clone3(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    // SAFETY: the caller's duty.
    unsafe { clone3_as(None, flags, cgroup) }
}

/// As [`clone3`], with a chosen process id (`set_tid`, Linux 5.5; needs `CAP_CHECKPOINT_RESTORE` or
/// `CAP_SYS_ADMIN`).
///
/// # Safety
///
/// As [`clone3`].
pub(crate) unsafe fn clone3_as(
    number: Option<Pid>,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    let mut pidfd: RawFd = -1;
    let number = number.map(Pid::as_raw);
    let mut args = CloneArgs {
        flags: harmless(flags)? | CLONE_PIDFD,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        // CLONE_AUTOREAP demands that there is no exit signal.
        exit_signal: if flags & (CLONE_AUTOREAP | CLONE_PARENT) == 0 {
            libc::SIGCHLD as u64
        } else {
            0
        },
        ..CloneArgs::default()
    };
    if let Some(number) = &number {
        args.set_tid = std::ptr::from_ref(number) as u64;
        args.set_tid_size = 1;
    }
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(dir.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    }
    // SAFETY: `args`, `pidfd` and `number` are live; there is no CLONE_VM, so the child has its own
    // copy of this stack. The rest is the caller's duty.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut args),
            size_of::<CloneArgs>(),
        )
    })?;
    forked(pid, pidfd)
}

/// `clone(2)` with the legacy interface, for machines with a seccomp policy that hides `clone3`.
///
/// Errors: `EINVAL` also for a flag above the lowest 32 bits, which this call would drop silently.
///
/// # Safety
///
/// As [`clone3`].
pub(crate) unsafe fn clone_with_pidfd(flags: u64) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    let mut pidfd: RawFd = -1;
    let flags = u32::try_from(harmless(flags)? | CLONE_PIDFD).map_err(|_| Errno::EINVAL)?;
    let bits = libc::c_ulong::from(flags) | libc::SIGCHLD as libc::c_ulong;
    // SAFETY: no stack and no CLONE_VM, so this is fork(2) that stores a pidfd through the third
    // argument.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            bits,
            0usize,
            std::ptr::from_mut(&mut pidfd),
            0usize,
            0usize,
        )
    })?;
    forked(pid, pidfd)
}

/// `fork(2)` by its bare system call: no atfork handlers.
///
/// # Safety
///
/// The child may only make async-signal-safe calls until it execs or exits, unless the process has
/// a single thread.
pub(crate) unsafe fn raw_fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the caller's promise; the flags share nothing.
    unsafe { raw_fork_as(libc::SIGCHLD) }
}

/// As [`raw_fork`], with these flags of clone(2), exit signal included.
///
/// # Safety
///
/// As [`raw_fork`], and `CLONE_VM` must not be among the flags.
#[expect(clippy::cast_sign_loss, reason = "flags are bits")]
pub(crate) unsafe fn raw_fork_as(flags: libc::c_int) -> Result<Option<Pid>, Errno> {
    // SAFETY: without CLONE_VM and without a stack, clone is fork.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags as libc::c_ulong,
            0usize,
            0usize,
            0usize,
            0usize,
        )
    })?;
    Ok(if pid == 0 { None } else { Some(number(pid)?) })
}

/// What a clone returned: nothing in the child, and in the parent its number and the descriptor
/// that the kernel stored.
pub(super) fn forked(pid: libc::c_long, pidfd: RawFd) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: CLONE_PIDFD stored a descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Some((number(pid)?, pidfd)))
}

fn number(pid: libc::c_long) -> Result<Pid, Errno> {
    Ok(Pid::from_raw(
        i32::try_from(pid).map_err(|_| Errno::ERANGE)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_share_with_the_caller_are_refused() {
        for flag in [
            libc::CLONE_VM,
            libc::CLONE_FILES,
            libc::CLONE_SIGHAND,
            libc::CLONE_SETTLS,
        ] {
            assert_eq!(
                harmless(flag.unsigned_abs().into()),
                Err(Errno::EINVAL),
                "{flag:#x}"
            );
        }
        assert_eq!(
            harmless(CLONE_NEWPID | CLONE_PARENT),
            Ok(CLONE_NEWPID | CLONE_PARENT)
        );
    }

    #[test]
    fn the_older_call_does_not_drop_the_flags_that_it_cannot_pass_on() {
        // SAFETY: refused before anything is cloned; were it not, the child would end at once.
        let refused = unsafe { clone_with_pidfd(CLONE_PIDFD_AUTOKILL) };
        if matches!(refused, Ok(None)) {
            crate::spawn::exit_now(1);
        }
        assert_eq!(refused.map(|_| ()), Err(Errno::EINVAL));
    }
}
