//! The loop of every detector that is woken by some source of events and then reads `populated`: subscribe, read, wait, read.

use std::fmt;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags};

use super::backoff::Backoff;
use super::level::{Level, entered};
use super::removal::Removal;
use super::sleep::{self, Slept};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::{Armed, Counters, DetectError, Verdict};
use crate::sys::time::now;
use crate::trial::Root;

/// Something that can be polled for reading and that hints at a change of the state.
pub(in crate::detect) trait Source: AsFd + fmt::Debug + Send {
    /// Whether its events may come before the state has changed, so that a few re-reads have to follow.
    const AHEAD: bool;

    /// Takes what has come. Losses are counted in `counters`; the state is read again in any case.
    fn take(&mut self, counters: &mut Counters) -> Result<Taken, DetectError>;
}

/// What a source had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::detect) enum Taken {
    /// Nothing that concerns this site.
    Nothing,
    /// An event of this site, or a loss that may hide one.
    Hint,
}

/// A source, the level, and the removal of the cgroup.
#[derive(Debug)]
pub(in crate::detect) struct Hinted<S> {
    source: S,
    level: Level,
    removal: Removal,
    backoff: Backoff,
    counters: Counters,
}

impl<S: Source> Hinted<S> {
    /// `source` has been subscribed already; the first read comes after it.
    pub(in crate::detect) fn new(source: S, cgroup: &Cgroup) -> Result<Self, DetectError> {
        Ok(Self {
            source,
            level: Level::open(cgroup)?,
            removal: Removal::watch(cgroup)?,
            backoff: Backoff::default(),
            counters: Counters::default(),
        })
    }
}

impl<S: Source> Armed for Hinted<S> {
    fn attach(&mut self, root: &Root) -> Result<(), DetectError> {
        entered(root)
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let mut woke = now();
        loop {
            if let Some(verdict) = self.level.look(woke, &mut self.counters) {
                return Ok(verdict);
            }
            self.backoff.looked(woke);
            let mut fds = [
                PollFd::new(self.source.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.removal.as_fd(), PollFlags::POLLIN),
                // A source whose events come ahead of the state cannot tell when the last re-read was too early.
                PollFd::new(self.level.events.as_fd(), PollFlags::POLLPRI),
            ];
            let watched = if S::AHEAD { &mut fds[..] } else { &mut fds[..2] };
            match sleep::on(watched, self.backoff.until(deadline))? {
                Slept::Woken(at) => woke = at,
                Slept::Deadline if deadline.has_passed() => return Ok(Verdict::deadline()),
                Slept::Deadline => woke = now(),
            }
            let [source, removal, _] = fds.map(|fd| fd.any() == Some(true));
            self.counters.wakeups += 1;
            if removal {
                self.removal.drain()?;
            }
            if source && self.source.take(&mut self.counters)? == Taken::Hint && S::AHEAD {
                self.backoff.hint(woke);
            }
        }
    }

    fn disarm(self: Box<Self>) -> Counters {
        // Every wake-up but the last left the cgroup populated.
        Counters {
            spurious: self.counters.wakeups.saturating_sub(1),
            ..self.counters
        }
    }
}
