//! The descriptors that a watch sleeps on, and the poll loop that all watches share.

use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags};

use super::sleep::{self, Slept};
use super::{DetectError, Verdict, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::sys::time::now;

/// The event that a descriptor is polled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It can be read: `POLLIN`.
    Readable,
    /// It has an exceptional condition: `POLLPRI`, as `cgroup.events` does. That file is always
    /// readable, so `POLLIN` would spin.
    Priority,
}

/// Descriptors to sleep on. None: only the time of the next check matters.
#[derive(Debug, Default)]
pub struct Sources<'a>(Vec<(BorrowedFd<'a>, Interest)>);

impl<'a> Sources<'a> {
    /// Nothing to sleep on.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a descriptor that is polled for `POLLIN`.
    #[must_use]
    pub fn readable(mut self, fd: &'a impl AsFd) -> Self {
        self.0.push((fd.as_fd(), Interest::Readable));
        self
    }

    /// Adds a descriptor that is polled for `POLLPRI`.
    #[must_use]
    pub fn priority(mut self, fd: &'a impl AsFd) -> Self {
        self.0.push((fd.as_fd(), Interest::Priority));
        self
    }

    /// All of them, for a loop of one's own.
    pub fn iter(&self) -> impl Iterator<Item = (BorrowedFd<'a>, Interest)> + '_ {
        self.0.iter().copied()
    }

    /// Sleeps until one of them is ready or `until` has passed.
    pub(crate) fn sleep(&self, until: MonoNs) -> Result<Slept, SysError> {
        if self.0.is_empty() {
            return Ok(sleep::until(until, until));
        }
        let mut fds: Vec<PollFd<'_>> = self
            .iter()
            .map(|(fd, interest)| match interest {
                Interest::Readable => PollFd::new(fd, PollFlags::POLLIN),
                Interest::Priority => PollFd::new(fd, PollFlags::POLLPRI),
            })
            .collect();
        sleep::on(&mut fds, until)
    }
}

/// Checks and sleeps in turn until there is a verdict or `deadline` has passed. What
/// [`Watch::wait`] does unless it is overridden.
pub fn wait<W: Watch + ?Sized>(watch: &mut W, deadline: MonoNs) -> Result<Verdict, DetectError> {
    let mut woke = now();
    loop {
        let progress = watch.check(woke)?;
        if let Some(verdict) = progress.verdict {
            return Ok(verdict);
        }
        let until = progress.next_look.map_or(deadline, |at| at.min(deadline));
        woke = match watch.sources().sleep(until)? {
            Slept::Woken(at) => at,
            Slept::Deadline if deadline.has_passed() => return Ok(Verdict::deadline()),
            Slept::Deadline => now(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Counters, Progress};
    use crate::spawn::Child;
    use std::time::Duration;

    /// Empty at the third check; asks for a check each millisecond.
    #[derive(Debug, Default)]
    struct ThirdLook(u32);

    impl Watch for ThirdLook {
        fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
            Ok(())
        }

        fn sources(&self) -> Sources<'_> {
            Sources::none()
        }

        fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
            self.0 += 1;
            Ok(if self.0 == 3 {
                Progress::done(Verdict::empty(now))
            } else {
                Progress::pending().look_at(now + Duration::from_millis(1))
            })
        }

        fn finish(self: Box<Self>) -> Counters {
            Counters::default()
        }
    }

    #[test]
    fn a_next_look_is_taken_without_any_source() {
        let mut watch = ThirdLook::default();
        let verdict = watch.wait(now() + Duration::from_secs(60)).unwrap();
        assert!(matches!(verdict, Verdict::Empty { .. }), "{verdict:?}");
        assert_eq!(watch.0, 3);
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_one_look() {
        let mut watch: Box<dyn Watch> = Box::new(ThirdLook::default());
        let verdict = watch.wait(MonoNs(0)).unwrap();
        assert!(
            matches!(verdict, Verdict::DeadlinePassed { .. }),
            "{verdict:?}"
        );
    }
}
