//! A running job.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::bell::Bell;
use super::completion::{Completion, Mechanisms, Proof, ToldBy};
use super::effects::JobEffects;
use super::ending::Ending;
use super::error::{JobError, StartError};
use super::place::Ground;
use super::site::Site;
use super::start::{Heard, Main, MainEnd, Started};
use super::stdio::Streams;
use super::usage;
use crate::MonoNs;
use crate::cgroup::EventsFile;
use crate::detect::Backoff;
use crate::error::{SysError, Target};
use crate::spawn::Request;
use crate::survivors::{self, Survivor};
use crate::sys::spawn::Entry;
use crate::sys::time::now;

/// How long a kill goes on before the survivors are named: see [`Job::kill`].
pub const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How long dropping a job that is not over may take.
pub const DROP_LIMIT: Duration = Duration::from_secs(2);
/// How often a job is checked without any event while processes other than the first are alive.
const LOOK: Duration = Duration::from_secs(1);
/// How long an empty cgroup may refuse to be removed.
const REMOVE_LIMIT: Duration = Duration::from_secs(5);

/// What becomes of processes that outlive the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Leftovers {
    /// They belong to the job, which is over when they are.
    #[default]
    Wait,
    /// They are killed when the first process ends.
    Kill,
}

/// A program that was started, with everything that it starts.
///
/// It is over when the last of its processes has ended. Then its cgroup is removed by whichever
/// call notices: [`Job::try_wait`], [`Job::wait`] and what is built on them.
///
/// Its descriptor ([`AsFd`]) is readable (level-triggered) when `try_wait` is to be called. It can
/// be registered in any event loop, once for the whole life of the job. When the job is over it may
/// stay readable; it is to be taken out of the loop then. A job holds five descriptors (a
/// directory, `cgroup.events`, a descriptor of the first process, its own, and a timer or none),
/// besides its streams.
///
/// Dropping a job that is not over kills everything in it and removes its cgroup, which takes up to
/// [`DROP_LIMIT`]; what is still alive then is left behind. To learn about that, call [`Job::kill`]
/// first. In a copy of the process that was made by fork(2), dropping does nothing.
#[derive(Debug)]
pub struct Job {
    pub(super) site: Site,
    pub(super) bell: Bell,
    pub(super) ending: Ending,
    effects: JobEffects,
    pid: Pid,
    pidfd: OwnedFd,
    main: Box<dyn Main>,
    status: Option<Result<MainEnd, SysError>>,
    /// Nothing more will be heard of the first process.
    lost: bool,
    /// Its source is in the job's descriptor.
    listening: bool,
    events: Option<EventsFile>,
    watched: bool,
    backoff: Backoff,
    empty_since: Option<MonoNs>,
    leftovers: Leftovers,
    started: MonoNs,
    mechanisms: Mechanisms,
    done: Option<Completion>,
    host: u32,
    /// The host's end of the program's standard input, if that is piped.
    pub stdin: Option<PipeWriter>,
    /// The host's end of its standard output.
    pub stdout: Option<PipeReader>,
    /// The host's end of its standard error.
    pub stderr: Option<PipeReader>,
}

impl Job {
    /// Starts `request` on `ground`; if that fails, nothing is left of either.
    pub(super) fn start(
        ground: Ground,
        request: &Request<'_>,
        leftovers: Leftovers,
    ) -> Result<Self, StartError> {
        let started = now();
        let begun = Bell::new()
            .map_err(StartError::from)
            .and_then(|bell| Ok((bell, ground.starter.start(ground.site.cgroup(), request)?)));
        let (
            bell,
            Started {
                pid,
                pidfd,
                entry,
                main,
            },
        ) = match begun {
            Ok(begun) => begun,
            Err(e) => {
                Self::undo(ground);
                return Err(e);
            }
        };
        let prepopulated = ground.placeholder.is_some();
        let job = Self {
            effects: ground.starter.effects(),
            // While the program begins to run. Without a descriptor to spare it is opened later.
            events: ground.site.cgroup().events_file().ok(),
            site: ground.site,
            bell,
            ending: Ending::default(),
            pid,
            pidfd,
            main,
            status: None,
            lost: false,
            listening: true,
            watched: false,
            backoff: Backoff::default(),
            empty_since: None,
            leftovers,
            started,
            mechanisms: Mechanisms {
                entry,
                prepopulated,
                told_by: ToldBy::Main,
                ended_by: None,
            },
            done: None,
            host: std::process::id(),
            stdin: None,
            stdout: None,
            stderr: None,
        };
        // From here on dropping the job undoes all.
        if let Some(placeholder) = ground.placeholder {
            placeholder.leave()?;
        }
        job.bell.on_readable(job.main.source(job.pidfd.as_fd()))?;
        Ok(job)
    }

    /// Removes a cgroup in which nothing was started, or only what has ended again.
    pub(super) fn undo(ground: Ground) {
        let Ground {
            site, placeholder, ..
        } = ground;
        drop(placeholder);
        // The error that led here is the one to report.
        match site.cgroup().events() {
            Ok(events) if events.populated => match site.cgroup().kill() {
                Ok(()) | Err(_) => {}
            },
            Ok(_) | Err(_) => {}
        }
        let deadline = now() + DROP_LIMIT;
        while let Ok(false) = site.remove() {
            if deadline.has_passed() {
                return;
            }
            let next = now() + Duration::from_micros(200);
            match crate::sys::time::sleep_until(next) {
                Ok(()) | Err(_) => {}
            }
        }
    }

    pub(super) fn with_streams(mut self, streams: Streams) -> Self {
        self.stdin = streams.stdin;
        self.stdout = streams.stdout;
        self.stderr = streams.stderr;
        self
    }

    /// Process id of the first process.
    pub fn id(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// A descriptor of the first process (pidfd_open(2)).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> &crate::cgroup::Cgroup {
        self.site.cgroup()
    }

    /// What running this job means for the host.
    pub fn effects(&self) -> JobEffects {
        self.effects
    }

    /// Whether it is over, without sleeping. Later calls return the same result. When it is over,
    /// its cgroup is removed.
    ///
    /// Errors: the job's own descriptor, or a kill that is in progress. Errors of reading the state
    /// are part of the answer: [`Proof::Unknown`].
    pub fn try_wait(&mut self) -> Result<Option<Completion>, JobError> {
        if self.done.is_none() {
            self.look()?;
        }
        Ok(self.done.clone())
    }

    /// Sleeps until it is over. `None`: it was not by `deadline`.
    ///
    /// Errors: as [`Job::try_wait`].
    pub fn wait(&mut self, deadline: MonoNs) -> Result<Option<Completion>, JobError> {
        loop {
            if let Some(done) = self.try_wait()? {
                return Ok(Some(done));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            self.bell.sleep(deadline)?;
        }
    }

    fn look(&mut self) -> Result<(), JobError> {
        let mut worth_it = self.status.is_some() || self.ending.is_under_way();
        loop {
            match self.main.hear(self.pidfd.as_fd()) {
                Heard::Nothing => break,
                Heard::Look => {
                    worth_it = true;
                    self.mechanisms.told_by = ToldBy::Starter;
                    self.backoff.hint(now());
                }
                Heard::Ended(end) => {
                    worth_it = true;
                    self.main_is_over(Ok(end));
                    break;
                }
                Heard::Lost(e) => {
                    worth_it = true;
                    self.main_is_over(Err(e));
                    if self.effects.ends_with_host {
                        // The process that was to end it with the host is gone. The job may have
                        // been killed and its cgroup removed already; the next read says so.
                        match self.kill_now() {
                            Err(e) if e.is_of_a_removed_cgroup() => {}
                            other => other?,
                        }
                    }
                    break;
                }
            }
        }
        let looked = if worth_it { self.look_at_all() } else { Ok(()) };
        if self.status.is_some() {
            self.main.release(self.pidfd.as_fd());
        }
        looked?;
        if self.done.is_none() {
            self.stop_listening()?;
        }
        Ok(())
    }

    fn main_is_over(&mut self, how: Result<MainEnd, SysError>) {
        self.lost |= how.is_err();
        // What is known stays known when its parent is lost after it.
        self.status.get_or_insert(how);
        self.backoff.hint(now());
    }

    /// Takes a source that has nothing more to say out of the job's descriptor, which it would keep
    /// readable. Only if the job goes on: its end is not to wait for that.
    fn stop_listening(&mut self) -> Result<(), SysError> {
        let told_all = self.lost || self.status.is_some() && !self.main.hints();
        if told_all && self.listening {
            self.bell.forget(self.main.source(self.pidfd.as_fd()))?;
            self.listening = false;
        }
        Ok(())
    }

    /// Reads `populated`, and goes on from there.
    fn look_at_all(&mut self) -> Result<(), JobError> {
        if self.events.is_none() {
            match self.site.cgroup().events_file() {
                Ok(events) => self.events = Some(events),
                Err(e) => return self.cannot_tell(sys(e)),
            }
        }
        let Some(events) = &self.events else {
            return Ok(());
        };
        let read = events.read();
        let now = now();
        match read {
            Ok(events) if events.populated => {
                self.empty_since = None;
                self.others_live(now)
            }
            Ok(_) => self.is_empty(now),
            Err(e) => self.cannot_tell(sys(e)),
        }
    }

    /// There are live members: continues a kill, and plans the next check.
    fn others_live(&mut self, now: MonoNs) -> Result<(), JobError> {
        if self.status.is_some() && self.leftovers == Leftovers::Kill && !self.ending.is_under_way()
        {
            self.kill_now()?;
        }
        let mut next = self.ending.step(now)?;
        if self.ending.is_given_up() {
            return self.name_survivors();
        }
        if self.status.is_some() {
            // Whatever tells later, the end of the first process did not.
            self.mechanisms.told_by = ToldBy::Events;
            if !self.watched
                && let Some(events) = &self.events
            {
                self.bell.on_news(events.as_fd())?;
                self.watched = true;
            }
            self.backoff.looked(now);
            let look = self.backoff.until(now + LOOK);
            next = Some(next.map_or(look, |at| at.min(look)));
        }
        match next {
            Some(at) => Ok(self.bell.at(at)?),
            None => Ok(()),
        }
    }

    /// `populated 0` was read: the proof, once the end of the first process is known too.
    fn is_empty(&mut self, now: MonoNs) -> Result<(), JobError> {
        let Some(status) = &self.status else {
            // Its descriptor is about to report its end.
            return Ok(());
        };
        let main = status.as_ref().ok().and_then(|end| end.usage);
        let usage = usage::read(self.site.cgroup(), self.site.base().limits(), main);
        match self.site.remove() {
            Ok(true) => {
                self.done(now, Proof::Removed, usage);
                Ok(())
            }
            // Since Linux 6.19 a dying process may still prevent the removal.
            Ok(false) => {
                let since = *self.empty_since.get_or_insert(now);
                if (since + REMOVE_LIMIT).has_passed() {
                    let busy = SysError::path("rmdir", self.site.cgroup().path(), Errno::EBUSY);
                    self.done(now, Proof::Unknown(busy), usage);
                    return Ok(());
                }
                Ok(self.bell.at(now + Duration::from_micros(200))?)
            }
            Err(e) => {
                self.done(now, Proof::Unknown(sys(e)), usage);
                Ok(())
            }
        }
    }

    /// The state cannot be read: unknown, and never empty.
    fn cannot_tell(&mut self, error: SysError) -> Result<(), JobError> {
        // The host has run out of something. It may ask again when it has some.
        if matches!(error.errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) {
            return Err(error.into());
        }
        if self.status.is_none() && !self.ending.is_given_up() {
            // The result of the first process is still missing.
            if self.ending.is_under_way() {
                self.ending.step(now())?;
            }
            return Ok(());
        }
        let main = self.status.as_ref().and_then(|s| s.as_ref().ok());
        let main = main.and_then(|end| end.usage);
        let usage = usage::read(self.site.cgroup(), self.site.base().limits(), main);
        self.done(now(), Proof::Unknown(error), usage);
        Ok(())
    }

    fn name_survivors(&mut self) -> Result<(), JobError> {
        let found: Result<Vec<Survivor>, _> = survivors::diagnose(self.site.cgroup());
        let proof = match found {
            // They seem to have ended meanwhile; the state decides.
            Ok(left) if left.is_empty() => {
                let path = self.site.cgroup().path();
                Proof::Unknown(SysError::path("name the members of", path, Errno::ESRCH))
            }
            Ok(left) => Proof::Survivors(left),
            Err(e) => Proof::Unknown(sys(e)),
        };
        let usage = usage::read(self.site.cgroup(), self.site.base().limits(), None);
        self.done(now(), proof, usage);
        Ok(())
    }

    fn done(&mut self, at: MonoNs, proof: Proof, usage: super::Usage) {
        let status = match &self.status {
            Some(Ok(end)) => Ok(ExitStatus::from_raw(end.change.raw())),
            Some(Err(e)) => Err(e.clone()),
            None => Err(SysError::pid(
                "read the exit status (it is alive)",
                self.pid.as_raw(),
                Errno::EBUSY,
            )),
        };
        let main_ended = self.status.as_ref().and_then(|s| s.as_ref().ok());
        self.mechanisms.ended_by = self.ending.report();
        self.done = Some(Completion {
            status,
            started: self.started,
            main_ended: main_ended.map(|end| end.at),
            known: at,
            usage,
            mechanisms: self.mechanisms.clone(),
            proof,
        });
    }

    /// Takes what there is to be heard of the first process, for nobody.
    pub(super) fn reap(&mut self) {
        drop(self.main.hear(self.pidfd.as_fd()));
        self.main.release(self.pidfd.as_fd());
    }

    /// How the first process came into its cgroup.
    pub fn entry(&self) -> Entry {
        self.mechanisms.entry
    }
}

/// The system call that failed. A file whose content is not understood has none.
fn sys(error: crate::cgroup::CgroupError) -> SysError {
    match error {
        crate::cgroup::CgroupError::Sys(e) => e,
        crate::cgroup::CgroupError::Malformed { path, .. } => SysError {
            op: "understand",
            target: Target::Path(path),
            errno: Errno::EBADMSG,
        },
    }
}

impl AsFd for Job {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl AsRawFd for Job {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // A forked copy of the host does nothing.
        if self.host != std::process::id() {
            self.site.disown();
            return;
        }
        if self
            .done
            .as_ref()
            .is_some_and(|done| done.proof.is_removed())
        {
            return;
        }
        self.end_in_silence();
    }
}
