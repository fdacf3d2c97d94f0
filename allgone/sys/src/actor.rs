//! System calls that only actors make: what a hostile program does to be hard to find.
//!
//! Async-signal-safe; nothing here allocates.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::MonoNs;
use crate::check;
use crate::spawn::clone3;

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

/// Forks into the cgroup with that directory. `None` in the child.
///
/// Must only be called by a process with one thread. Sources: clone3(2), `CLONE_INTO_CGROUP` (Linux
/// 5.7). Errors: `EACCES` the cgroup is not the caller's to enter, `EAGAIN` a limit.
pub fn fork_into(cgroup: BorrowedFd<'_>) -> Result<Option<Pid>, Errno> {
    // SAFETY: actors have a single thread, so the copy is complete.
    let forked = unsafe { clone3(0, Some(cgroup)) }?;
    Ok(forked.map(|(pid, _)| pid))
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
    let mut start = Start(state, play);
    let top = match new_stack() {
        Ok(top) => top,
        Err(errno) => return errno,
    };
    // SAFETY: the stack is the thread's alone, and `start` outlives it: this function does not
    // return once there is a thread. The two threads share what glibc keeps per thread, and from
    // here on this one makes a single system call, which does not touch it.
    let thread = unsafe {
        libc::clone(
            begin::<T>,
            top,
            THREAD,
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

/// Starts a thread that sleeps for ever. Allocates nothing; its stack is a mapping of 64 KiB.
///
/// Errors: `ENOMEM`, `EAGAIN` a limit on tasks. Sources: clone(2) `CLONE_THREAD`, pause(2).
pub fn sleeping_thread() -> Result<(), Errno> {
    extern "C" fn sleep(_: *mut libc::c_void) -> libc::c_int {
        loop {
            // SAFETY: no arguments. An actor has no signal handler, so the call does not return,
            // and does not touch the `errno` that this thread shares with the one that made it.
            unsafe { libc::syscall(libc::SYS_pause) };
        }
    }
    let top = new_stack()?;
    // SAFETY: the stack is the thread's alone and stays mapped; the thread makes one system call.
    let thread = unsafe { libc::clone(sleep, top, THREAD, std::ptr::null_mut()) };
    check(libc::c_long::from(thread)).map(|_| ())
}

/// What threads share.
pub(crate) const THREAD: libc::c_int = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM;

/// Where the stack of a new thread begins: the end of a mapping of 64 KiB that stays. Source:
/// mmap(2).
pub(crate) fn new_stack() -> Result<*mut libc::c_void, Errno> {
    const STACK: usize = 64 << 10;
    let stack = new_memory(STACK, libc::MAP_STACK)?;
    // SAFETY: the end of the mapping just made; stacks grow down on every architecture that this
    // workspace runs on.
    Ok(unsafe { stack.byte_add(STACK) })
}

fn new_memory(length: usize, flags: libc::c_int) -> Result<*mut libc::c_void, Errno> {
    // SAFETY: an anonymous mapping at an address that the kernel chooses.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    Ok(at)
}

/// Maps so many bytes and writes to every page of them: resident memory until the process ends.
/// Zero is nothing.
///
/// Errors: `ENOMEM`; at a limit of the cgroup the process may be killed instead. Source: mmap(2).
pub fn touch(bytes: usize) -> Result<(), Errno> {
    if bytes == 0 {
        return Ok(());
    }
    let at = new_memory(bytes, 0)?;
    let mut page = 0;
    while page < bytes {
        // SAFETY: within the mapping just made.
        unsafe { at.cast::<u8>().wrapping_add(page).write_volatile(1) };
        page += 4096;
    }
    Ok(())
}

/// Opens a descriptor that stays open until the process ends, or closes all.
///
/// Errors: `EMFILE`, `ENFILE`, `ENOMEM`. Source: eventfd(2).
pub fn keep_descriptor() -> Result<(), Errno> {
    // SAFETY: integers only.
    check(libc::c_long::from(unsafe { libc::eventfd(0, 0) })).map(|_| ())
}

/// Sets the nice value of this process. Errors: `EACCES` it is lower than it was, `EPERM`. Source:
/// setpriority(2).
pub fn set_nice(value: u8) -> Result<(), Errno> {
    // SAFETY: integers only; 0 is the calling process.
    let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, libc::c_int::from(value)) };
    check(libc::c_long::from(set)).map(|_| ())
}

/// Gives a process, or if `pid` is 0 the calling one, a real-time priority, the lowest: it runs
/// until it sleeps, whatever other programs want, but for a few per cent of the time (sched(7),
/// `sched_rt_runtime_us`).
///
/// Children inherit it, and a process that has it may take it again. Errors: `EPERM` the process
/// has it not, the limit `RLIMIT_RTPRIO` is 0 and `CAP_SYS_NICE` is missing; or it is in a cgroup
/// without real-time bandwidth (`CONFIG_RT_GROUP_SCHED`). Source: sched_setscheduler(2).
pub fn set_realtime(pid: Pid) -> Result<(), Errno> {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: `lowest` is valid. Not the C library's function, which
    // fails in musl.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            pid.as_raw(),
            libc::SCHED_FIFO,
            &raw const lowest,
        )
    })
    .map(|_| ())
}

/// Gives a process, or if `pid` is 0 the calling one, the usual policy (`SCHED_OTHER`). Its nice
/// value is what it was. Source: sched_setscheduler(2).
pub fn set_usual_priority(pid: Pid) -> Result<(), Errno> {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: `none` is valid. Not the C library's function, which
    // fails in musl.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            pid.as_raw(),
            libc::SCHED_OTHER,
            &raw const none,
        )
    })
    .map(|_| ())
}

/// Ends this process by `SIGSEGV`, as a fault of its own would: whatever it did with that signal.
///
/// Sources: signal(7), core(5).
pub fn die_of_segv() -> ! {
    // SAFETY: SIG_DFL is a valid disposition.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    // SAFETY: an all-zero set is a valid argument for sigemptyset, which makes it valid.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: points to a set.
    unsafe { libc::sigemptyset(&raw mut none) };
    // SAFETY: a valid set; the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    loop {
        // Not raise(3), which does not know processes of a bare clone.
        let pid = nix::unistd::getpid();
        // SAFETY: integers only.
        unsafe { libc::kill(pid.as_raw(), libc::SIGSEGV) };
    }
}

/// Whether the number is that of an open descriptor. Source: fcntl(2), `F_GETFD`.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: integers only.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}
