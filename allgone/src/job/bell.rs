//! The descriptor of a job: readable when the job is to be checked.
//!
//! It is an epoll instance, so that its sources can change while it is registered in the host's
//! event loop: first the source of the first process, then `cgroup.events` and a timer, while other
//! processes live on.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::MonoNs;
use crate::detect::sleep;
use crate::error::SysError;

#[derive(Debug)]
pub(super) struct Bell {
    /// There until [`Bell::close`].
    epoll: Option<Epoll>,
    timer: Option<TimerFd>,
}

impl Bell {
    pub(super) fn new() -> Result<Self, SysError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        Ok(Self {
            epoll: Some(epoll.map_err(|e| SysError::plain("make an epoll", e))?),
            timer: None,
        })
    }

    /// Becomes readable when `fd` can be read.
    pub(super) fn on_readable(&self, fd: BorrowedFd<'_>) -> Result<(), SysError> {
        self.add(fd, EpollFlags::EPOLLIN)
    }

    /// Becomes readable when `cgroup.events` has changed.
    pub(super) fn on_news(&self, fd: BorrowedFd<'_>) -> Result<(), SysError> {
        self.add(fd, EpollFlags::EPOLLPRI)
    }

    /// Stops watching `fd`.
    pub(super) fn forget(&self, fd: BorrowedFd<'_>) -> Result<(), SysError> {
        match self.epoll().delete(fd) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(SysError::plain("take a descriptor out of an epoll", e)),
        }
    }

    /// Becomes readable at `at`, once, instead of at the time that was set before.
    pub(super) fn at(&mut self, at: MonoNs) -> Result<(), SysError> {
        let failed = |op| move |e| SysError::plain(op, e);
        if self.timer.is_none() {
            let timer = TimerFd::new(
                ClockId::CLOCK_MONOTONIC,
                TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
            )
            .map_err(failed("make a timer"))?;
            self.on_readable(timer.as_fd())?;
            self.timer = Some(timer);
        }
        let Some(timer) = &self.timer else {
            return Ok(());
        };
        // A time of 0 would disarm it. Setting it also clears an expiry.
        let time = TimeSpec::from_duration(MonoNs(at.0.max(1)).since(MonoNs(0)));
        timer
            .set(
                Expiration::OneShot(time),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )
            .map_err(failed("set a timer"))
    }

    /// Sleeps until it is readable or `deadline` has passed.
    pub(super) fn sleep(&self, deadline: MonoNs) -> Result<(), SysError> {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        sleep::on(&mut fds, deadline).map(|_| ())
    }

    /// Gives up its descriptors, in the drop of its job. It is not used after that.
    pub(super) fn close(&mut self) {
        self.epoll = None;
        self.timer = None;
    }

    fn epoll(&self) -> &Epoll {
        self.epoll
            .as_ref()
            .expect("only the drop of its job closes it")
    }

    fn add(&self, fd: BorrowedFd<'_>, flags: EpollFlags) -> Result<(), SysError> {
        match self.epoll().add(fd, EpollEvent::new(flags, 0)) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(e) => Err(SysError::plain("add a descriptor to an epoll", e)),
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll().0.as_fd()
    }
}
