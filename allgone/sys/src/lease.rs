//! Whether anything else has a file open.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::check;

/// Whether another open file description of `file` exists: that of a process that executes it, for
/// one. Asks for a write lease and gives it back at once.
///
/// `file` has to be open for reading or writing, and duplicates of this one description do not
/// count. A process that opens the file meanwhile waits for the microsecond that this takes, and
/// the kernel sends this process SIGIO, which is blocked here and taken.
///
/// Errors: `EACCES` the file is not the caller's and it lacks `CAP_LEASE`, `EINVAL` not a regular
/// file or a file system without leases. Source: fcntl(2), F_SETLEASE; fs/locks.c,
/// check_conflicting_open().
pub fn is_open_elsewhere(file: impl AsFd) -> Result<bool, Errno> {
    let mut broken = SigSet::empty();
    broken.add(Signal::SIGIO);
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&broken), Some(&mut before))?;
    let pending_before = is_pending()?;
    let answer = match set(&file, libc::F_WRLCK) {
        Ok(()) => set(&file, libc::F_UNLCK).map(|()| false),
        Err(Errno::EAGAIN) => Ok(true),
        Err(errno) => Err(errno),
    };
    let taken = match is_pending()? && !pending_before {
        true => broken.wait().map(|_| ()),
        false => Ok(()),
    };
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    taken.and(answer)
}

fn set(file: impl AsFd, kind: libc::c_int) -> Result<(), Errno> {
    // SAFETY: a descriptor that lives through the call, and an integer.
    check(libc::c_long::from(unsafe {
        libc::fcntl(file.as_fd().as_raw_fd(), libc::F_SETLEASE, kind)
    }))
    .map(|_| ())
}

/// Whether SIGIO waits to be taken.
fn is_pending() -> Result<bool, Errno> {
    // SAFETY: an all-zero set is a valid set.
    let mut pending: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a live set of this process, which the kernel fills.
    check(libc::c_long::from(unsafe {
        libc::sigpending(&raw mut pending)
    }))?;
    // SAFETY: a set that has been filled, and a signal's number.
    Ok(unsafe { libc::sigismember(&raw const pending, libc::SIGIO) } == 1)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_file_is_open_elsewhere_while_it_is_executed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cat");
        std::fs::copy("/bin/cat", &path).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(is_open_elsewhere(&file), Ok(false));
        let mut cat = Command::new(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(is_open_elsewhere(&file), Ok(true));
        drop(cat.stdin.take());
        cat.wait().unwrap();
        assert_eq!(is_open_elsewhere(&file), Ok(false));
        let again = File::open(&path).unwrap();
        assert_eq!(is_open_elsewhere(&file), Ok(true));
        drop(again);
        assert_eq!(is_open_elsewhere(file.try_clone().unwrap()), Ok(false));
    }

    #[test]
    fn what_has_no_leases_says_so() {
        assert_eq!(
            is_open_elsewhere(File::open("/dev/null").unwrap()),
            Err(Errno::EINVAL)
        );
    }
}
