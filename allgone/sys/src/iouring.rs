//! Operations of io_uring(7) that wait: one poll, one waitid, and splices that never complete.
//!
//! Sources: io_uring_enter(2), `IORING_OP_POLL_ADD` (Linux 5.1), `IORING_OP_WAITID` (6.7),
//! `IORING_FEAT_EXT_ARG` (5.11). Privilege: none, unless `kernel.io_uring_disabled` or seccomp says
//! otherwise.

use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode, squeue};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::Pid;

use crate::MonoNs;

/// A ring with room for a few operations. Dropping it cancels what is pending.
pub struct Ring(IoUring);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ring").field(&self.0.as_raw_fd()).finish()
    }
}

fn errno(e: &std::io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))
}

impl Ring {
    /// Makes one. Errors: `ENOSYS`; `EPERM` disabled or filtered; `EOPNOTSUPP` before Linux 5.11
    /// (waits could have no time-out).
    pub fn new() -> Result<Self, Errno> {
        let ring = IoUring::new(4).map_err(|e| errno(&e))?;
        if ring.params().is_feature_ext_arg() {
            Ok(Self(ring))
        } else {
            Err(Errno::EOPNOTSUPP)
        }
    }

    /// Whether the kernel knows `IORING_OP_WAITID`.
    pub fn knows_waitid(&self) -> Result<bool, Errno> {
        let mut probe = Probe::new();
        self.0
            .submitter()
            .register_probe(&mut probe)
            .map_err(|e| errno(&e))?;
        Ok(probe.is_supported(opcode::WaitId::CODE))
    }

    /// Submits one poll of `fd` for `events`: one completion, with the events that came. The kernel
    /// holds the file until then.
    pub fn submit_poll(&mut self, fd: BorrowedFd<'_>, events: PollFlags) -> Result<(), Errno> {
        let mask = u32::from(events.bits().unsigned_abs());
        self.submit(&opcode::PollAdd::new(Fd(fd.as_raw_fd()), mask).build())
    }

    /// Submits one waitid for the end of the child `pid`, which reaps it: one completion with 0, or
    /// with an error such as `ECHILD`.
    pub fn submit_waitid(&mut self, pid: Pid) -> Result<(), Errno> {
        let id = libc::id_t::try_from(pid.as_raw()).map_err(|_| Errno::EINVAL)?;
        self.submit(&opcode::WaitId::new(libc::P_PID, id, libc::WEXITED | libc::__WALL).build())
    }

    fn submit(&mut self, entry: &squeue::Entry) -> Result<(), Errno> {
        // SAFETY: neither operation points to memory of this process (waitid is given no siginfo),
        // so nothing has to outlive it.
        unsafe { self.0.submission().push(entry) }.map_err(|_| Errno::EBUSY)?;
        self.0.submit().map(|_| ()).map_err(|e| errno(&e))
    }

    /// Sleeps for one completion and returns its result, or `None` after `deadline`.
    pub fn wait(&mut self, deadline: MonoNs) -> Result<Option<Result<i32, Errno>>, Errno> {
        loop {
            if let Some(entry) = self.0.completion().next() {
                let result = entry.result();
                return Ok(Some(if result < 0 {
                    Err(Errno::from_raw(-result))
                } else {
                    Ok(result)
                }));
            }
            let left = Timespec::from(deadline.remaining());
            match self
                .0
                .submitter()
                .submit_with_args(1, &SubmitArgs::new().timespec(&left))
            {
                Ok(_) => {}
                Err(e) => match errno(&e) {
                    Errno::ETIME if deadline.has_passed() => return Ok(None),
                    Errno::ETIME | Errno::EINTR => {}
                    other => return Err(other),
                },
            }
        }
    }
}

/// Has the kernel start `count` workers for this process, each of which sleeps in an operation that
/// never completes: a splice from a pipe into which nothing is written. Ring and pipes stay until
/// the process ends. Async-signal-safe; nothing is allocated.
///
/// The kernel starts a worker when the one before sleeps, so the last ones come after the return.
/// They are threads of the process. Errors: as [`Ring::new`]; `EINVAL` more than 4096, `EMFILE`.
/// Sources: io_uring_enter(2), `IOSQE_ASYNC`; io_uring/io-wq.c.
pub fn sleeping_workers(count: u32) -> Result<(), Errno> {
    // Whatever comes of it: what has been submitted uses them.
    let mut ring = ManuallyDrop::new(IoUring::new(count.max(1)).map_err(|e| errno(&e))?);
    let (from, never_written) = nix::unistd::pipe()?;
    let (never_read, into) = nix::unistd::pipe()?;
    let [from, into, ..] = [from, into, never_written, never_read].map(IntoRawFd::into_raw_fd);
    let entry = opcode::Splice::new(Fd(from), -1, Fd(into), -1, 1)
        .build()
        .flags(squeue::Flags::ASYNC);
    for _ in 0..count {
        // SAFETY: a splice points to no memory, and its descriptors are never closed.
        unsafe { ring.submission().push(&entry) }.map_err(|_| Errno::EBUSY)?;
    }
    ring.submit().map(|_| ()).map_err(|e| errno(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::now;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_poll_completes_or_times_out() {
        let mut ring = match Ring::new() {
            Ok(ring) => ring,
            Err(e) => {
                assert!(
                    matches!(e, Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP),
                    "{e}"
                );
                return;
            }
        };
        let (read, write) = nix::unistd::pipe().unwrap();
        ring.submit_poll(read.as_fd(), PollFlags::POLLIN).unwrap();
        assert_eq!(ring.wait(now() + Duration::from_millis(1)), Ok(None));
        nix::unistd::write(&write, b"x").unwrap();
        let events = ring
            .wait(now() + Duration::from_secs(5))
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(
            events & i32::from(PollFlags::POLLIN.bits()),
            i32::from(PollFlags::POLLIN.bits())
        );
    }
}
