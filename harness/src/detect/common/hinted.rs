//! The watch of every detector that is woken by some source of events and then reads `populated`:
//! subscribe, read, wait, read.

use std::fmt;
use std::os::fd::AsFd;

use allgone::detect::{Backoff, Level, Progress, Sources, Tally, Watch, entered};
use allgone::spawn::Child;

use super::inotify::Subscription;
use super::removal;
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::{Counters, DetectError};

/// Something that can be polled for reading and that hints at a change of the state.
pub(in crate::detect) trait Source: AsFd + fmt::Debug + Send {
    /// Whether its events may come before the state has changed, so that a few re-reads have to
    /// follow.
    const AHEAD: bool;

    /// Takes what has come, without sleeping. Losses are counted in `counters`; the state is read
    /// again in any case.
    fn take(&mut self, counters: &mut Counters) -> Result<Taken, DetectError>;
}

/// What a source reported.
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
    removal: Subscription,
    backoff: Backoff,
    tally: Tally,
}

impl<S: Source> Hinted<S> {
    /// `source` has been subscribed already; the first read comes after it.
    pub(in crate::detect) fn new(source: S, cgroup: &Cgroup) -> Result<Self, DetectError> {
        Ok(Self {
            source,
            level: Level::open(cgroup)?,
            removal: removal::watch(cgroup)?,
            backoff: Backoff::default(),
            tally: Tally::default(),
        })
    }
}

impl<S: Source + 'static> Watch for Hinted<S> {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        let sources = self.removal.add_to(Sources::none().readable(&self.source));
        if S::AHEAD {
            // Its events come before the state changes, so the last re-read may have been too
            // early.
            sources.priority(&self.level.events)
        } else {
            sources
        }
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let counters = self.tally.check();
        self.removal.drain(counters)?;
        if self.source.take(counters)? == Taken::Hint && S::AHEAD {
            self.backoff.hint(now);
        }
        if let Some(verdict) = self.level.look(now, counters) {
            return Ok(Progress::done(verdict));
        }
        self.backoff.looked(now);
        Ok(Progress {
            next_look: self.backoff.next(),
            ..Progress::pending()
        })
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}

/// Reports of a BPF program as a source of hints; `AHEAD` as in [`Source`].
#[derive(Debug)]
pub(in crate::detect) struct Reports<const AHEAD: bool>(
    pub(in crate::detect) allgone::detect::bpf::Reporter,
);

impl<const AHEAD: bool> AsFd for Reports<AHEAD> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<const AHEAD: bool> Source for Reports<AHEAD> {
    const AHEAD: bool = AHEAD;

    fn take(&mut self, counters: &mut Counters) -> Result<Taken, DetectError> {
        Ok(match self.0.drain() {
            Some(at) => {
                counters.event_ns = at;
                Taken::Hint
            }
            None => Taken::Nothing,
        })
    }
}
