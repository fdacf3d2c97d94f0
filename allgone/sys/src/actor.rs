//! System calls that only actors make: what a hostile program does to be hard to find.
//!
//! Async-signal-safe; nothing here allocates.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::MonoNs;
use crate::check;

/// A new descriptor for the file inherited as `number`, which stays open: an actor closes nothing
/// unless its script says so.
///
/// Source: fcntl(2), `F_DUPFD_CLOEXEC`. Errors: `EBADF` nothing was inherited there.
pub fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: integers only.
    let copy = check(libc::c_long::from(unsafe {
        libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0)
    }))?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(copy).map_err(|_| Errno::EBADF)?) })
}

/// Has the kernel send `SIGKILL` to this process at `deadline`, or at once if it has passed: to a
/// stopped process, too, to one that ignores signals, and to one whose first thread has ended. The
/// timer cannot be taken back; it ends with the process, and with an exec, and no child inherits
/// it.
///
/// Sources: timer_create(2), timer_settime(2); kernel/time/posix-timers.c, good_sigevent(). Errors:
/// `EAGAIN` the user's limit on pending signals (`RLIMIT_SIGPENDING`).
pub fn kill_self_at(deadline: MonoNs) -> Result<(), Errno> {
    // SAFETY: all-zero bytes are a valid `sigevent`: integers, and pointers that are not used.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let mut timer: libc::c_int = 0;
    // SAFETY: both point to what the kernel expects: a sigevent to read, and an int to write, which
    // is the kernel's own timer id (not the C library's).
    check(unsafe {
        libc::syscall(
            libc::SYS_timer_create,
            libc::CLOCK_MONOTONIC,
            &raw const event,
            &raw mut timer,
        )
    })?;
    // A value of zero would disarm the timer; a deadline in the past fires at once.
    let nanoseconds = i64::try_from(deadline.0.max(1)).unwrap_or(i64::MAX);
    let at = libc::itimerspec {
        it_interval: libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: libc::timespec {
            tv_sec: nanoseconds / 1_000_000_000,
            tv_nsec: nanoseconds % 1_000_000_000,
        },
    };
    // SAFETY: `timer` is the one just made, `at` is valid, and the old value is not asked for.
    check(unsafe {
        libc::syscall(
            libc::SYS_timer_settime,
            timer,
            libc::TIMER_ABSTIME,
            &raw const at,
            std::ptr::null_mut::<libc::itimerspec>(),
        )
    })
    .map(|_| ())
}

/// Closes every descriptor of this process. Mappings stay.
///
/// Source: close_range(2), Linux 5.9. `ENOSYS` before; an actor then reports that it could not play
/// its part.
pub fn close_all() -> Result<(), Errno> {
    // SAFETY: integers only. The callers (actors) own nothing that would use a descriptor
    // afterwards.
    check(unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32) }).map(|_| ())
}

/// Ignores every signal that can be ignored, but for `SIGCHLD`: ignoring that one would make
/// children vanish without a zombie, which is another scenario.
///
/// Sources: signal(7), sigaction(2).
pub fn ignore_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        if signal != libc::SIGCHLD {
            // SAFETY: SIG_IGN is a valid disposition. EINVAL (SIGKILL, SIGSTOP, the two of glibc)
            // is expected and leaves them as they are.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

/// Goes on with `play` in a second thread and ends the calling one: the process lives on without
/// its leader, which stays behind as a zombie thread. Allocates nothing; the new stack is a mapping
/// of 64 KiB.
///
/// Must be called by a process with one thread. Returns only if it failed: `ENOMEM`, `EAGAIN` a
/// limit on tasks. Sources: clone(2) `CLONE_THREAD`, exit(2) (the system call ends one thread, not
/// the process).
pub fn without_leader<T>(state: &mut T, play: fn(&mut T) -> !) -> Errno {
    struct Start<'a, T>(&'a mut T, fn(&mut T) -> !);
    extern "C" fn begin<T>(start: *mut libc::c_void) -> libc::c_int {
        // SAFETY: points to the `Start` below; the leader's stack stays mapped, and the leader does
        // not return to it.
        let start = unsafe { &mut *start.cast::<Start<'_, T>>() };
        (start.1)(start.0)
    }
    const STACK: usize = 64 << 10;
    const FLAGS: libc::c_int = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;

    let mut start = Start(state, play);
    // SAFETY: an anonymous mapping at an address that the kernel chooses.
    let stack = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
            -1,
            0,
        )
    };
    if stack == libc::MAP_FAILED {
        return Errno::last();
    }
    // SAFETY: the end of the mapping just made; stacks grow down on every architecture that this
    // workspace runs on.
    let top = unsafe { stack.byte_add(STACK) };
    // SAFETY: the stack is the thread's alone, and `start` outlives it: this function does not
    // return once there is a thread. The two threads share what glibc keeps per thread, and from
    // here on this one makes a single system call, which does not touch it.
    let thread = unsafe {
        libc::clone(
            begin::<T>,
            top,
            FLAGS,
            std::ptr::from_mut(&mut start).cast(),
        )
    };
    if thread < 0 {
        return Errno::last();
    }
    loop {
        // SAFETY: ends the calling thread; nothing on its stack is ever dropped.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
}
