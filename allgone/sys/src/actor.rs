//! System calls that only actors make: what a hostile program does to be hard to find.
//!
//! Async-signal-safe; nothing here allocates.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

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
