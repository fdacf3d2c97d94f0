//! A new process waits until it is traced.
//!
//! Sources: pipe(2), prctl(2) `PR_SET_PDEATHSIG`, ptrace(2), setsid(2).

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::exit_now;
use crate::{check, ptrace};

/// A pipe between a tracer and the process that it is about to trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    read: RawFd,
    write: RawFd,
}

impl Gate {
    /// Before the process is made. Errors: `EMFILE`, `ENFILE`. Async-signal-safe, as all of this.
    pub(super) fn new() -> Result<Self, Errno> {
        let mut ends = [-1; 2];
        // SAFETY: room for two descriptors.
        let ret = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
        check(libc::c_long::from(ret))?;
        let [read, write] = ends;
        Ok(Self { read, write })
    }

    /// In the new process: waits until it is traced. If its tracer ends before that, so does it,
    /// even if something has stopped it.
    pub(super) fn pass(self) -> Result<(), Errno> {
        death_signal(libc::SIGKILL)?;
        // SAFETY: this process's copy, which nothing here uses again.
        unsafe { libc::close(self.write) };
        let mut byte = 0u8;
        loop {
            // SAFETY: one writable byte.
            let read = unsafe { libc::read(self.read, std::ptr::from_mut(&mut byte).cast(), 1) };
            match check(read as libc::c_long) {
                Ok(0) => exit_now(127),
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        // From here on the end of the tracer kills it, whatever becomes of its parent.
        death_signal(0)
    }

    /// In the tracer: traces `process`, and lets it pass.
    ///
    /// Before that no program runs that could trace this process in its turn; and afterwards none
    /// can. A session of its own: what stops the terminal's foreground does not stop a tracer.
    /// Errors: as [`ptrace::seize_until_exit`].
    pub(super) fn open_for(self, process: Pid) -> Result<(), Errno> {
        ptrace::seize_until_exit(process)?;
        // SAFETY: integers.
        let ret = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
        check(libc::c_long::from(ret))?;
        // SAFETY: no arguments.
        check(libc::c_long::from(unsafe { libc::setsid() }))?;
        // SAFETY: one live byte.
        let written = unsafe { libc::write(self.write, [1u8].as_ptr().cast(), 1) };
        check(written as libc::c_long).map(|_| ())
    }
}

/// `PR_SET_PDEATHSIG`; 0: none.
pub(super) fn death_signal(signal: libc::c_int) -> Result<(), Errno> {
    // SAFETY: integers.
    let ret = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
    check(libc::c_long::from(ret)).map(|_| ())
}
