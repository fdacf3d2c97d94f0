//! A copy of a process with one thread, which runs ordinary code.
//!
//! Sources: clone3(2), proc_pid_task(5).

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{clone_with_pidfd, clone3, exit_now};

/// What a copy ends with if its code panics.
pub const PANICKED: u8 = 101;

/// Runs `body` in a copy of this process and ends the copy with the number that it returns. No
/// destructor of what was there before runs in it. The caller's signal mask and handlers are its
/// own, too.
///
/// Memory that other threads were changing would be torn in it, so a process with more than one
/// thread is refused with `EDEADLK`. Errors: as clone3(2), or clone(2) where that is refused with
/// `ENOSYS`; without /proc `ENOENT`.
pub fn copy_alone(body: impl FnOnce() -> u8) -> Result<(Pid, OwnedFd), Errno> {
    if thread_count()? != 1 {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: this process has exactly one thread, so its copy is complete and may run any code.
    let forked = match unsafe { clone3(0, None) } {
        // SAFETY: as above.
        Err(Errno::ENOSYS) => unsafe { clone_with_pidfd(0) }?,
        other => other?,
    };
    match forked {
        Some(child) => Ok(child),
        None => {
            let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED);
            exit_now(code.into())
        }
    }
}

/// How many threads this process has: the entries of `/proc/self/task`.
pub fn thread_count() -> Result<usize, Errno> {
    let failed = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
    let mut count = 0;
    // An entry that could not be read is an error, not a thread.
    for entry in std::fs::read_dir("/proc/self/task").map_err(failed)? {
        entry.map_err(failed)?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_copied() {
        // The test runner itself has threads.
        let (keep, done) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || done.recv());
        assert_eq!(copy_alone(|| 0).unwrap_err(), Errno::EDEADLK);
        drop(keep);
        assert!(thread.join().unwrap().is_err());
    }
}
