//! Ending a job: at once, or after a request and a grace period. In steps that never sleep.

use std::time::Duration;

use super::completion::{Completion, Ended};
use super::error::JobError;
use super::running::{DROP_LIMIT, Job, KILL_LIMIT};
use crate::MonoNs;
use crate::kill::{self, GRACE, KillReport, KillStrategy, Killer, Step, TermGraceKill};
use crate::param::ParamPoint;
use crate::set::ProcessSet;
use crate::spawn::SpawnOptions;
use crate::sys::time::now;

/// The progress.
#[derive(Debug, Default)]
pub(super) enum Ending {
    /// It was not asked for.
    #[default]
    None,
    /// A strategy is running.
    UnderWay(Work),
    /// It has given up.
    GivenUp(Ended),
}

#[derive(Debug)]
pub(super) struct Work {
    killer: Box<dyn Killer>,
    strategy: &'static dyn KillStrategy,
    set: ProcessSet,
    report: KillReport,
    /// When it gives up.
    until: MonoNs,
    /// When members were last killed once more.
    issued: bool,
}

/// How often the state is read while members die: the event for emptiness may be delayed.
const LOOK: Duration = Duration::from_millis(1);

impl Ending {
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::UnderWay(_))
    }

    pub(super) fn is_given_up(&self) -> bool {
        matches!(self, Self::GivenUp(_))
    }

    /// What was done so far, if anything.
    pub(super) fn report(&self) -> Option<Ended> {
        match self {
            Self::None => None,
            Self::UnderWay(work) => Some(work.ended()),
            Self::GivenUp(ended) => Some(ended.clone()),
        }
    }

    /// Begins. `within`: when it gives up.
    fn begin(
        &mut self,
        strategy: &'static dyn KillStrategy,
        set: ProcessSet,
        within: Duration,
    ) -> Result<(), JobError> {
        let killer = strategy.prepare(&set, &mut SpawnOptions::default())?;
        let report = match std::mem::take(self) {
            Self::UnderWay(work) => work.report,
            Self::None | Self::GivenUp(_) => KillReport::begin(),
        };
        *self = Self::UnderWay(Work {
            killer,
            strategy,
            set,
            report,
            until: now() + within,
            issued: false,
        });
        Ok(())
    }

    /// Does what can be done now; says when to go on. There are live members.
    pub(super) fn step(&mut self, now: MonoNs) -> Result<Option<MonoNs>, JobError> {
        let Self::UnderWay(work) = self else {
            return Ok(None);
        };
        if now >= work.until {
            work.report.gave_up = true;
            let undone = work.killer.give_up(&mut work.report);
            *self = Self::GivenUp(work.ended());
            undone?;
            return Ok(None);
        }
        if !work.issued {
            match work.killer.step(now, &mut work.report) {
                Ok(Step::Again(at)) => return Ok(Some(at.min(work.until))),
                Ok(Step::Issued) => work.issued = true,
                Err(e) => {
                    let ended = work.ended();
                    *self = Self::GivenUp(ended);
                    return Err(e.into());
                }
            }
        }
        // A polite strategy has ended, and members are left.
        if work.strategy.spec().id != kill::RECOMMENDED.spec().id {
            let set = work.set.clone();
            let within = work.until.since(now);
            self.begin(kill::RECOMMENDED, set, within)?;
            return Ok(Some(now + LOOK));
        }
        Ok(Some((now + LOOK).min(work.until)))
    }
}

impl Work {
    fn ended(&self) -> Ended {
        Ended {
            strategy: self.strategy.spec().id,
            report: self.report.clone(),
        }
    }
}

impl Job {
    fn set(&self) -> ProcessSet {
        ProcessSet::new(self.site.cgroup().clone())
    }

    /// Kills everything in the job, and returns when it is known to be gone, or at the latest after
    /// [`KILL_LIMIT`]: then the proof names the survivors, with the reasons.
    ///
    /// Errors: it could not be killed, or not be waited for.
    pub fn kill(&mut self) -> Result<Completion, JobError> {
        self.start_kill()?;
        self.see_the_end(now() + KILL_LIMIT)
    }

    /// Sends `SIGTERM` to each process of the job, and kills the live ones after `grace`. Returns
    /// when everything is known to be gone, or at the latest [`KILL_LIMIT`] after `grace`.
    ///
    /// Errors: as [`Job::kill`].
    pub fn terminate(&mut self, grace: Duration) -> Result<Completion, JobError> {
        self.start_terminate(grace)?;
        self.see_the_end(now() + grace + KILL_LIMIT)
    }

    /// As [`Job::kill`], without waiting: the job's descriptor becomes readable when
    /// [`Job::try_wait`] has to be called, which continues the kill and finally returns the
    /// completion.
    ///
    /// Neither sleeps, but both make the system calls of the kill in the calling thread, and a
    /// write to `cgroup.kill` or `cgroup.freeze` waits for `cgroup_mutex`, for which the kernel
    /// gives no bound.
    pub fn start_kill(&mut self) -> Result<(), JobError> {
        let set = self.set();
        self.start_ending(kill::RECOMMENDED, set, KILL_LIMIT)
    }

    /// As [`Job::terminate`], without waiting.
    pub fn start_terminate(&mut self, grace: Duration) -> Result<(), JobError> {
        let mut params = ParamPoint::default();
        let grace_ns = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        params.set(&GRACE, grace_ns);
        let set = self.set().with_params(params);
        self.start_ending(&TermGraceKill, set, grace + KILL_LIMIT)
    }

    fn start_ending(
        &mut self,
        strategy: &'static dyn KillStrategy,
        set: ProcessSet,
        within: Duration,
    ) -> Result<(), JobError> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        self.begin_ending(strategy, set, within)
    }

    /// Begins to kill from within a check.
    pub(super) fn kill_now(&mut self) -> Result<(), JobError> {
        let set = self.set();
        self.begin_ending(kill::RECOMMENDED, set, KILL_LIMIT)
    }

    fn begin_ending(
        &mut self,
        strategy: &'static dyn KillStrategy,
        set: ProcessSet,
        within: Duration,
    ) -> Result<(), JobError> {
        self.ending.begin(strategy, set, within)?;
        if let Some(next) = self.ending.step(now())? {
            self.bell.at(next)?;
        }
        Ok(())
    }

    /// Waits for a kill that is in progress: it ends by itself, and the job a little later.
    fn see_the_end(&mut self, kill_ends: MonoNs) -> Result<Completion, JobError> {
        let deadline = kill_ends + Duration::from_secs(1);
        match self.wait(deadline)? {
            Some(done) => Ok(done),
            None => Err(crate::SysError::path(
                "see the end of the job in",
                self.site.cgroup().path(),
                nix::errno::Errno::ETIMEDOUT,
            )
            .into()),
        }
    }

    /// For a drop, which cannot report an error.
    pub(super) fn end_in_silence(&mut self) {
        let deadline = now() + DROP_LIMIT;
        match self.start_kill().and_then(|()| self.wait(deadline)) {
            Ok(Some(done)) if done.proof.is_removed() => {}
            Ok(_) | Err(_) => self.end_without_a_word(deadline),
        }
    }

    /// For a host that has run out of descriptors, too: the job's own make room for the one that a
    /// kill needs, and a removal needs none.
    fn end_without_a_word(&mut self, deadline: MonoNs) {
        self.bell.close();
        loop {
            // What is answered does not matter: the removal decides.
            match self.site.cgroup().kill() {
                Ok(()) | Err(_) => {}
            }
            self.reap();
            if matches!(self.site.remove(), Ok(true)) || deadline.has_passed() {
                return;
            }
            match crate::sys::time::sleep_until(now() + LOOK) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}
