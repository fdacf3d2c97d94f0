//! The guard's reports about one job.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::MonoNs;
use crate::error::{SysError, retry_eintr};
use crate::sys::guard::receive;
use crate::sys::guard::wire::{self, Notice};

/// The host's end of a job's channel: readable when there is a report.
#[derive(Debug)]
pub struct Channel {
    end: OwnedFd,
    /// The guard has sent its last report.
    over: bool,
}

/// One report of the guard.
#[derive(Debug)]
#[non_exhaustive]
pub enum Said {
    /// The process exists.
    Started {
        /// Its number, in the guard's PID namespace, which is the host's.
        pid: i32,
        /// Its descriptor.
        pidfd: OwnedFd,
        /// Why it was not born in its cgroup, and moved there by itself, if so.
        moved: Option<Errno>,
    },
    /// There is no process.
    Refused(Errno),
    /// The first process has ended and was reaped.
    Ended(Ended),
    /// `populated 0` was read. It is the last report.
    Empty(MonoNs),
    /// The guard cannot read `populated` any more: `ENODEV`, the cgroup has been removed. It is the
    /// last report.
    Unknown(Errno),
    /// The guard has died.
    Died,
}

/// How a first process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub pid: i32,
    /// `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`.
    pub code: i32,
    /// Exit code or signal.
    pub status: i32,
    /// When it was reaped.
    pub at: MonoNs,
    /// CPU time in user mode, in microseconds, of it and of the children it has waited for.
    pub user_us: u64,
    /// CPU time in the kernel, likewise.
    pub system_us: u64,
    /// The most resident memory that one of them had, in bytes.
    pub peak_bytes: u64,
}

impl Channel {
    pub(super) fn new(end: OwnedFd) -> Self {
        Self { end, over: false }
    }

    /// The next report. `None`: nothing new. Never sleeps.
    ///
    /// Errors: recvmsg(2); `EBADMSG`: a guard of another version, or `EMFILE`: the pidfd that came
    /// could not be taken.
    pub fn hear(&mut self) -> Result<Option<Said>, SysError> {
        if self.over {
            return Ok(None);
        }
        let fail = |errno| SysError::plain("hear the guard", errno);
        let mut bytes = [0u8; size_of::<Notice>()];
        let heard = retry_eintr(|| receive(self.end.as_fd(), &mut bytes));
        let (length, pidfd) = match heard {
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::ECONNRESET) => (0, None),
            other => other.map_err(fail)?,
        };
        if length == 0 {
            self.over = true;
            return Ok(Some(Said::Died));
        }
        let (notice, _) = wire::take::<Notice>(&bytes)
            .filter(|_| length == bytes.len())
            .ok_or_else(|| fail(Errno::EBADMSG))?;
        let said = said(notice, pidfd).ok_or_else(|| fail(Errno::EBADMSG))?;
        self.over = matches!(said, Said::Empty(_) | Said::Refused(_) | Said::Unknown(_));
        Ok(Some(said))
    }
}

fn said(notice: Notice, pidfd: Option<OwnedFd>) -> Option<Said> {
    let errno = Errno::from_raw(notice.code);
    Some(match notice.kind {
        wire::STARTED => Said::Started {
            pid: notice.pid,
            pidfd: pidfd?,
            moved: (notice.code != 0).then_some(errno),
        },
        wire::REFUSED => Said::Refused(errno),
        wire::ENDED => Said::Ended(Ended {
            pid: notice.pid,
            code: notice.code,
            status: notice.status,
            at: MonoNs(notice.at_ns),
            user_us: notice.user_us,
            system_us: notice.system_us,
            peak_bytes: notice.peak_kib.saturating_mul(1024),
        }),
        wire::EMPTY => Said::Empty(MonoNs(notice.at_ns)),
        wire::UNKNOWN => Said::Unknown(errno),
        _ => return None,
    })
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
