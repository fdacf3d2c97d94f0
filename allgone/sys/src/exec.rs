//! Execs of an actor: a program by its descriptor, in the same process.
//!
//! Async-signal-safe; nothing here allocates. Sources: execveat(2) (Linux 3.19), execve(2): effect
//! on process attributes.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use crate::actor::{THREAD, new_stack};
use crate::futex;

/// How many arguments an exec can have here, the zeroth included.
pub const MOST_WORDS: usize = 12;

/// Replaces this process's program with the file behind `program`, with these arguments and an
/// empty environment. All other threads end. Returns only if it failed.
///
/// A file that begins with `#!` is found by its interpreter as `/dev/fd/N`, so `program` must not
/// be close-on-exec then (`ENOENT`). Errors: `E2BIG` more than [`MOST_WORDS`]; as execveat(2).
pub fn execute(program: BorrowedFd<'_>, argv: &[&CStr]) -> Errno {
    if argv.len() > MOST_WORDS {
        return Errno::E2BIG;
    }
    let mut words = [std::ptr::null::<libc::c_char>(); MOST_WORDS + 1];
    for (word, text) in words.iter_mut().zip(argv) {
        *word = text.as_ptr();
    }
    let none = [std::ptr::null::<libc::c_char>(); 1];
    // SAFETY: the path is an empty string, both arrays end with a null pointer, and what they point
    // to outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            words.as_ptr(),
            none.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

/// As [`execute`], by a second thread, while the first one sleeps: the kernel ends the first
/// thread, and the second takes over its number. To others the process is the same; a tracer, or
/// whoever counts threads by their numbers, sees one number end and another vanish.
///
/// Must be called by a process with one thread. Sources: ptrace(2), "execve(2) under ptrace";
/// pidfd_open(2), `PIDFD_THREAD`; fs/exec.c, de_thread().
pub fn execute_from_thread(program: BorrowedFd<'_>, argv: &[&CStr]) -> Errno {
    struct Start<'a> {
        program: BorrowedFd<'a>,
        argv: &'a [&'a CStr],
        failed: AtomicU32,
        errno: AtomicI32,
    }
    extern "C" fn begin(start: *mut libc::c_void) -> libc::c_int {
        // SAFETY: points to the `Start` below. The first thread stays in that function until this
        // one has said that it failed, and after that only its address is used.
        let start = unsafe { &*start.cast::<Start<'_>>() };
        let errno = execute(start.program, start.argv);
        start.errno.store(errno as i32, Ordering::SeqCst);
        start.failed.store(1, Ordering::SeqCst);
        match futex::wake_all(&start.failed) {
            Ok(_) | Err(_) => {}
        }
        loop {
            // SAFETY: ends the calling thread; nothing on its stack is ever dropped.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
    }
    let start = Start {
        program,
        argv,
        failed: AtomicU32::new(0),
        errno: AtomicI32::new(0),
    };
    let top = match new_stack() {
        Ok(top) => top,
        Err(errno) => return errno,
    };
    // SAFETY: the stack is the thread's alone and stays mapped, and `start` outlives the thread's
    // use of it. The thread shares with this one what glibc keeps per thread: its `errno`, which
    // this one writes only if its wait is interrupted.
    let thread = unsafe {
        libc::clone(
            begin,
            top,
            THREAD,
            std::ptr::from_ref(&start).cast_mut().cast(),
        )
    };
    if thread < 0 {
        return Errno::last();
    }
    while start.failed.load(Ordering::SeqCst) == 0 {
        // A wake-up is only a hint to look again.
        match futex::wait(&start.failed, 0, Duration::from_secs(3600)) {
            Ok(()) | Err(_) => {}
        }
    }
    Errno::from_raw(start.errno.load(Ordering::SeqCst))
}
