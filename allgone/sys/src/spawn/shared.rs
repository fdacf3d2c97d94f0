//! A child that shares the caller's memory until it execs, as posix_spawn(3) makes it: however much
//! memory the host has, no page table is copied.
//!
//! The child has a stack of its own and, unlike after vfork(2), the caller is not stopped by the
//! kernel: it sleeps on a futex that the kernel clears when the child releases the memory
//! (`CLONE_CHILD_CLEARTID`), with a deadline. A cgroup that is frozen at that moment stops the
//! child, and not its host.
//!
//! Sources: clone3(2), `CLONE_CLEAR_SIGHAND` (Linux 5.5), set_tid_address(2), futex(2),
//! kernel/fork.c `mm_release()`.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use super::clone::{CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP, CLONE_PIDFD, CloneArgs, forked};
use super::report::ChildFailure;
use super::signals::Blocked;
use super::steps::{Handlers, Sequence};
use super::{Entry, Plan, exit_now, spawn};
use crate::time::now;
use crate::wait::{Whose, waitid};
use crate::{MonoNs, pidfd};

/// A program that has been executed.
#[derive(Debug)]
pub struct Executed {
    /// Its process id in this PID namespace.
    pub pid: Pid,
    /// Its descriptor, open before it ran.
    pub pidfd: OwnedFd,
    /// How it came into its cgroup.
    pub entry: Entry,
}

/// A program that has not been executed. Nothing of it is left.
#[derive(Debug)]
pub enum NotExecuted {
    /// No child was made, or it has not reached exec in time (`ETIMEDOUT`: it was killed).
    Parent(io::Error),
    /// A step of the child failed; the child has been reaped.
    Child(ChildFailure),
}

impl From<Errno> for NotExecuted {
    fn from(errno: Errno) -> Self {
        Self::Parent(errno.into())
    }
}

impl From<io::Error> for NotExecuted {
    fn from(error: io::Error) -> Self {
        Self::Parent(error)
    }
}

/// How long a child may take from its birth to its exec: only a frozen cgroup, a stop signal or a
/// file system that does not answer make it take more than milliseconds.
const EXEC_LIMIT: Duration = Duration::from_secs(10);
/// How long a killed child may take to release the memory.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// Starts the child that `plan` describes, and returns when it has executed its program, or cannot.
///
/// Where `plan` names a cgroup, on x86-64, the child shares the caller's memory until then.
/// Otherwise, and where the kernel refuses `clone3` (see [`spawn`]), it is a copy as a fork makes
/// it. Plans with a gate or an init are for [`spawn`] (`EINVAL`).
pub fn execute(plan: &Plan<'_>) -> Result<Executed, NotExecuted> {
    if plan.gate.is_some() || plan.init {
        return Err(Errno::EINVAL.into());
    }
    if let (true, Some(cgroup)) = (cfg!(target_arch = "x86_64"), plan.cgroup) {
        match share(plan, cgroup) {
            Err(NotExecuted::Parent(e)) if refused(&e) && plan.clone_flags >> 32 == 0 => {}
            other => return other,
        }
    }
    copy(plan)
}

fn refused(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOSYS | Errno::EPERM | Errno::E2BIG))
}

/// As a fork, by way of [`spawn`].
fn copy(plan: &Plan<'_>) -> Result<Executed, NotExecuted> {
    let spawned = spawn(plan)?;
    let deadline = now() + EXEC_LIMIT;
    let mut fds = [PollFd::new(spawned.exec_signal(), PollFlags::POLLIN)];
    loop {
        let left = TimeSpec::from_duration(deadline.remaining());
        match ppoll(&mut fds, Some(left), None) {
            Ok(0) if deadline.has_passed() => {
                end(spawned.pidfd.as_fd())?;
                return Err(Errno::ETIMEDOUT.into());
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    match spawned.failure()? {
        Some(failure) => {
            reap(spawned.pidfd.as_fd())?;
            Err(NotExecuted::Child(failure))
        }
        None => Ok(Executed {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            entry: spawned.entry,
        }),
    }
}

/// What parent and child share until exec. The parent looks at `failure` and `sequence` only when
/// `held` is 0.
struct Common<'a> {
    /// Not 0 while the child uses this memory; a futex.
    held: AtomicU32,
    sequence: Sequence<'a>,
    failure: Option<ChildFailure>,
    stack: Vec<u128>,
}

/// Enough for the deepest call of the child in a build without optimisation, several times over.
const STACK_BYTES: usize = 64 * 1024;

fn share(plan: &Plan<'_>, cgroup: BorrowedFd<'_>) -> Result<Executed, NotExecuted> {
    let (sequence, _) = Sequence::of(plan, Handlers::Cleared, None, None)?;
    let common = Box::into_raw(Box::new(Common {
        held: AtomicU32::new(1),
        sequence,
        failure: None,
        stack: Vec::with_capacity(STACK_BYTES / size_of::<u128>()),
    }));
    // Blocked for as long as the memory is shared: `errno` is shared too, and a sleep that a signal
    // interrupts would overwrite what the child is about to read there.
    let blocked = match Blocked::all() {
        Ok(blocked) => blocked,
        Err(errno) => {
            // SAFETY: there is no child, so nobody else has the pointer.
            drop(unsafe { Box::from_raw(common) });
            return Err(errno.into());
        }
    };
    // SAFETY: it has just been made, and the child does not exist yet.
    let born = unsafe { bear(plan.clone_flags, cgroup, common) };
    let (pid, pidfd) = match born {
        Ok(born) => born,
        Err(errno) => {
            // SAFETY: there is no child, so nothing else has the pointer.
            drop(unsafe { Box::from_raw(common) });
            return Err(errno.into());
        }
    };
    // SAFETY: an atomic, and it lives until it is freed below.
    let held = unsafe { &(*common).held };
    let in_time = wait_until_free(held, now() + EXEC_LIMIT);
    if !in_time {
        match pidfd::send_signal(pidfd.as_fd(), Some(Signal::SIGKILL)) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !wait_until_free(held, now() + KILL_LIMIT) {
            // It may still use this memory, which is therefore not freed.
            return Err(Errno::ETIMEDOUT.into());
        }
    }
    // SAFETY: the kernel has cleared the word, so the child has released the memory.
    let common = unsafe { Box::from_raw(common) };
    drop(blocked);
    if let Some(failure) = common.failure {
        reap(pidfd.as_fd())?;
        return Err(NotExecuted::Child(failure));
    }
    if !in_time {
        reap(pidfd.as_fd())?;
        return Err(Errno::ETIMEDOUT.into());
    }
    Ok(Executed {
        pid,
        pidfd,
        entry: Entry::Born,
    })
}

/// Makes the child. Every signal is blocked in the caller, and so in the child.
///
/// # Safety
///
/// `common` is live, nobody else uses it, and it stays so until `held` is 0.
unsafe fn bear(
    flags: u64,
    cgroup: BorrowedFd<'_>,
    common: *mut Common<'_>,
) -> Result<(Pid, OwnedFd), Errno> {
    let mut descriptor: RawFd = -1;
    // SAFETY: it is live; only its address is taken.
    let held = unsafe { &raw const (*common).held };
    // SAFETY: it is live, and nobody else uses it yet.
    let stack = unsafe { &mut (*common).stack }.as_mut_ptr();
    let sharing = (libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID) as u64;
    let mut args = CloneArgs {
        flags: super::clone::harmless(flags)?
            | sharing
            | CLONE_PIDFD
            | CLONE_INTO_CGROUP
            | CLONE_CLEAR_SIGHAND,
        pidfd: std::ptr::from_mut(&mut descriptor) as u64,
        child_tid: held as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack as u64,
        stack_size: STACK_BYTES as u64,
        cgroup: u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::EBADF)?,
        ..CloneArgs::default()
    };
    // SAFETY: the stack is the child's alone and aligned, and `common` is as `child` needs it.
    let ret = unsafe { clone3_calling(&mut args, child, common.cast()) };
    if ret < 0 {
        return Err(Errno::from_raw(i32::try_from(-ret).unwrap_or(libc::EIO)));
    }
    forked(ret, descriptor)?.ok_or(Errno::EIO)
}

/// The child's main function until exec.
extern "C" fn child(common: *mut c_void) -> ! {
    let common = common.cast::<Common<'_>>();
    // SAFETY: the parent has passed a live `Common`, and does not look at this while `held` is set.
    let sequence = unsafe { &mut (*common).sequence };
    let failed = sequence.until_failure();
    // SAFETY: as above.
    unsafe { (*common).failure = failed };
    exit_now(127)
}

/// `clone3(2)` with a stack, on which the child calls `run(with)`. Returns in the parent only, what
/// the kernel answered.
///
/// # Safety
///
/// `args` describes a stack that nobody else uses, aligned at its end; `run` never returns.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_calling(
    args: &mut CloneArgs,
    run: extern "C" fn(*mut c_void) -> !,
    with: *mut c_void,
) -> libc::c_long {
    let ret: libc::c_long;
    // SAFETY: the system call changes rax, rcx and r11 alone; the child begins with the same
    // registers on its own stack and does not come back.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => ret,
            in("rdi") std::ptr::from_mut(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r8") with,
            in("r9") run,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    ret
}

/// Elsewhere children are copies.
///
/// # Safety
///
/// It does nothing.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone3_calling(
    _: &mut CloneArgs,
    _: extern "C" fn(*mut c_void) -> !,
    _: *mut c_void,
) -> libc::c_long {
    -libc::c_long::from(libc::ENOSYS)
}

/// Sleeps until the kernel has cleared `held`; `false`: not by `deadline`.
fn wait_until_free(held: &AtomicU32, deadline: MonoNs) -> bool {
    loop {
        let value = held.load(Ordering::Acquire);
        if value == 0 {
            return true;
        }
        if deadline.has_passed() {
            return false;
        }
        let left = TimeSpec::from_duration(deadline.remaining());
        let left: &libc::timespec = left.as_ref();
        // The kernel wakes by a shared futex. Its result does not matter, only the word does.
        // SAFETY: a live word and a live timespec.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                held.as_ptr(),
                libc::FUTEX_WAIT,
                value,
                std::ptr::from_ref(left),
                0usize,
                0u32,
            )
        };
    }
}

/// Kills a child and reaps it.
fn end(child: BorrowedFd<'_>) -> Result<(), Errno> {
    match pidfd::send_signal(child, Some(Signal::SIGKILL)) {
        Ok(()) | Err(Errno::ESRCH) => reap(child),
        Err(errno) => Err(errno),
    }
}

/// Reaps a child that has ended, or is about to.
fn reap(child: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
    loop {
        match waitid(Whose::Pidfd(child), flags) {
            Err(Errno::EINTR) => {}
            // The host ignores SIGCHLD, or has reaped it.
            Ok(_) | Err(Errno::ECHILD) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}
