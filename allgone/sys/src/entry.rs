//! The `main` of a program that starts fast.
//!
//! Before the `main` of a program the standard library looks for the limits of its stack, for which
//! the C library opens and parses /proc/self/maps, and sets up a second stack and two handlers that
//! say so when the first one overflows: a twentieth of a millisecond. [`entry!`](crate::entry!)
//! makes a `main` that is called by the C library itself, and does the two things of that
//! preparation that are not about the stack. An overflow still ends the program, by SIGSEGV.
//!
//! Source: library/std/src/sys/pal/unix/mod.rs `init` of Rust.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use crate::check;
use crate::spawn::exit_now;

/// Makes `fn(Vec<OsString>) -> u8` the program: it is called once with the arguments, and what it
/// returns is the exit code. What it has written to standard output it has to flush. The program's
/// root has `#![no_main]`; `std::env::args` may be empty in it.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// What the C library calls.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: ::std::ffi::c_int,
            words: *const *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            // SAFETY: the C library's arguments, which are there as long as the process.
            let args = unsafe { $crate::entry::arguments(count, words) };
            $crate::entry::run($main, args)
        }
    };
}

/// The arguments that the C library passes to `main`, as a copy.
///
/// # Safety
///
/// `words` are `count` strings.
#[doc(hidden)]
pub unsafe fn arguments(count: c_int, words: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(count).unwrap_or(0);
    let words = match count {
        // It may be null then.
        0 => &[],
        // SAFETY: the caller's duty.
        count => unsafe { std::slice::from_raw_parts(words, count) },
    };
    words
        .iter()
        .map(|word| {
            // SAFETY: as above.
            let word = unsafe { CStr::from_ptr(*word) };
            OsStr::from_bytes(word.to_bytes()).to_owned()
        })
        .collect()
}

/// Runs `main` and ends this process with its code.
#[doc(hidden)]
pub fn run(main: fn(Vec<OsString>) -> u8, args: Vec<OsString>) -> ! {
    let code = match prepare() {
        Ok(()) => main(args),
        // The standard library ends a program by a signal where this is not to be had.
        Err(_) => 125,
    };
    exit_now(code.into())
}

/// Opens /dev/null for each standard stream that is closed, so that no other file gets its number
/// and is taken for it; and ignores SIGPIPE, so that a write to a pipe that nothing reads is an
/// error.
fn prepare() -> Result<(), Errno> {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    loop {
        // SAFETY: the array is writable and as long as it says.
        let ret = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
        match check(libc::c_long::from(ret)) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    for stream in streams
        .iter()
        .filter(|stream| stream.revents & libc::POLLNVAL != 0)
    {
        // It gets the lowest number that is free, which is this one. The program has it, too.
        // SAFETY: a literal and an integer.
        let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        if null != stream.fd {
            return Err(Errno::EBADF);
        }
    }
    // SAFETY: a constant; nothing of this process has a handler yet.
    match unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(Errno::last()),
        _ => Ok(()),
    }
}
