//! A run: trials one after another, and their complete removal.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use allgone::limits::V1Dirs;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::leaks::{self, LeakReport, Snapshot};
use super::prepare::Trial;
use super::protection::Protection;
use super::reaper::{Ending, Reaper};
use super::setuid;
use super::users;
use super::{Limits, Site, TrialError, TrialSpec, limits, objects};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::error::{SysError, Target};
use crate::host::named::{self, Named};
use crate::host::{Base, LimitSource, leftovers};
use crate::record::TrialRecord;
use crate::sys::spawn::Credentials;
use crate::sys::time;
use crate::users::Reserved;

/// How long emptying and removing may take before it counts as stuck.
const CLEANING: Duration = Duration::from_secs(60);
/// How long killed children may take until they can be reaped.
const DYING: Duration = Duration::from_secs(5);

/// If the harness comes back from a wait so much later than asked for, the machine was suspended or
/// overloaded. A mechanism that is late in such a trial is not blamed for it.
const STALL: Duration = Duration::from_secs(2);

/// What the user decides about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Name of the run's cgroup: that of the [`Protection`], or that and a suffix after a dot.
    pub name: String,
    /// Go on with hostile scenarios although there is no pids limit.
    pub no_limits: bool,
}

/// Trials one after another, below one cgroup, under one protection.
///
/// While it exists, the calling process takes `SIGINT`, `SIGTERM`, `SIGHUP` and `SIGCHLD` through a
/// descriptor, and reaps *all* its children: it must have a single thread and no children of its
/// own.
#[derive(Debug)]
pub struct Run<'b> {
    base: &'b Base,
    options: RunOptions,
    cgroup: Cgroup,
    control: Cgroup,
    actors: Option<Reserved>,
    before: Snapshot,
    pub(super) reaper: Reaper,
    /// The hierarchy that trials share, once one has made it.
    shared: Option<Named>,
    /// The set-user-ID copy of the workload's program, once a trial has asked for it.
    setuid: Option<OwnedFd>,
    stalled: Duration,
    /// When the last wait ended.
    waited: MonoNs,
    // Last, to be dropped when signals are handled as before.
    protection: Rc<Protection>,
}

impl<'b> Run<'b> {
    /// Makes the run's cgroups. After an error nothing of them is there.
    pub fn start(
        protection: Rc<Protection>,
        base: &'b Base,
        options: RunOptions,
    ) -> Result<Self, TrialError> {
        if !leftovers::belongs(&options.name, protection.name()) {
            return Err(TrialError::Unprotected(options.name));
        }
        protection.check()?;
        protection.set_finished(false);
        let actors = users::for_actors()?;
        if let Some(actors) = &actors {
            objects::remove_abandoned(actors.uid)?;
        }
        let before = Snapshot::take(&options.name, actors.as_ref().map(|a| a.uid))?;
        let reaper = Reaper::adopt(protection.signals(), protection.guards())?;
        match make(base, &options.name) {
            Ok((cgroup, control)) => Ok(Self {
                base,
                options,
                cgroup,
                control,
                actors,
                before,
                reaper,
                shared: None,
                setuid: None,
                stalled: Duration::ZERO,
                waited: time::now(),
                protection,
            }),
            Err(error) => {
                // What was made so far is empty, so this cannot fail for a reason that the first
                // error does not explain.
                let deadline = time::now() + CLEANING;
                let undone = leftovers::remove_run(
                    &options.name,
                    Some(base.cgroup().path()),
                    deadline,
                    &mut || {},
                );
                if let Err((path, e)) = undone {
                    tracing::warn!(path = %path.display(), error = %e, "could not remove what was \
                        made of the run");
                }
                Err(error)
            }
        }
    }

    /// The set-user-ID copy of `program`, which is that of all trials: it is large.
    pub(super) fn setuid_copy(&mut self, program: &OwnedFd) -> Result<OwnedFd, SysError> {
        if self.setuid.is_none() {
            self.setuid = Some(setuid::copy(program)?);
        }
        let copy = self.setuid.as_ref().map(OwnedFd::try_clone);
        let copy = copy.unwrap_or_else(|| Err(std::io::ErrorKind::NotFound.into()));
        copy.map_err(|e| SysError::io("dup", Target::Nothing, &e))
    }

    /// Runs one trial. A trial that breaks is a record; an error means that the run cannot go on.
    pub fn trial(&mut self, spec: &TrialSpec<'_>) -> Result<TrialRecord, TrialError> {
        let record = Trial::prepare(self, spec)
            .and_then(|trial| trial.observe().settle().conclude().clean());
        self.reaper.forget();
        record
    }

    /// A site as a trial would have it, without a trial, for callers that arm or kill by
    /// themselves. It is removed with the run.
    pub fn site(&mut self, spec: &TrialSpec<'_>) -> Result<Site, TrialError> {
        Site::make(self, spec)
    }

    /// Whether the run has to end: a signal has asked for it, or a guard has died.
    pub fn interrupted(&mut self) -> bool {
        // If this check fails, the next trial meets the same error and reports it.
        match self.reaper.look() {
            Ok(()) | Err(_) => self.reaper.ending().is_some(),
        }
    }

    /// An error if a guard has died: the reason why the run is [interrupted](Run::interrupted).
    pub fn check(&mut self) -> Result<(), TrialError> {
        self.reaper.look()?;
        match self.reaper.ending() {
            Some(Ending::Guard(pid)) => Err(TrialError::Guard(pid.as_raw())),
            Some(Ending::Signal(_)) | None => Ok(()),
        }
    }

    /// Removes everything and reports what was left.
    pub fn finish(mut self) -> Result<LeakReport, TrialError> {
        self.clean(None)?;
        let strays = self.strays(time::now() + DYING)?;
        let report = Snapshot::take(&self.options.name, self.credentials().map(|c| c.uid))?;
        let mut report = report.new_since(&self.before);
        report
            .left
            .extend(strays.into_iter().map(|pid| format!("process {pid}")));
        let made = leftovers::of_run(&self.options.name, Some(self.base.cgroup().path()))?;
        report.left.extend(made.iter().map(ToString::to_string));
        self.protection.set_finished(report.is_clean());
        Ok(report)
    }

    /// Children that are there, and processes of the actors' user. A cgroup can be removed before
    /// the processes that were killed in it can be reaped (up to Linux 6.18 a task leaves it before
    /// its parent is notified; from 7.1 on an exiting process does not keep it). They are waited
    /// for until `patience`.
    fn strays(&mut self, patience: crate::MonoNs) -> Result<Vec<i32>, TrialError> {
        loop {
            self.reaper.look()?;
            let mut strays = leaks::stray_children(&self.expected_children())?;
            if let Some(Credentials { uid, .. }) = self.credentials() {
                strays.extend(crate::users::processes_of(uid)?);
            }
            strays.sort_unstable();
            strays.dedup();
            if strays.is_empty() || patience.has_passed() {
                return Ok(strays);
            }
            self.rest(&[], Duration::from_millis(1))?;
        }
    }

    /// How many processes the harness has reaped.
    pub fn reaped(&self) -> u64 {
        self.reaper.reaped()
    }

    /// For how long in all the harness has not run although it was to: see [`STALL`].
    pub(super) fn stalled(&self) -> Duration {
        self.stalled
    }

    /// From here on [`Run::stalled`] is measured: what came before was no part of a trial.
    pub(super) fn begins_to_wait(&mut self) {
        self.waited = time::now();
    }

    /// Waits for the next signal, the next message, or `timeout`, whichever is first; reaps.
    pub(crate) fn rest(
        &mut self,
        also: &[std::os::fd::BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<(), SysError> {
        let mut fds = vec![PollFd::new(self.reaper.fd(), PollFlags::POLLIN)];
        fds.extend(also.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(SysError::plain("ppoll", errno)),
        }
        drop(fds);
        // Since the wait before: it may be between two waits that nothing runs.
        let now = time::now();
        let late = now.since(self.waited).saturating_sub(timeout);
        self.waited = now;
        if late >= STALL {
            self.stalled += late;
        }
        self.reaper.look()
    }

    /// Waits until a helper has ended and has been reaped; kills it if it takes longer than
    /// `patience`.
    pub(crate) fn reap(
        &mut self,
        pidfd: &std::os::fd::OwnedFd,
        patience: Duration,
    ) -> Result<(), SysError> {
        let deadline = time::now() + patience;
        while !crate::sys::pidfd::has_exited(pidfd.as_fd())
            .map_err(|e| SysError::plain("poll pidfd", e))?
        {
            if deadline.has_passed() {
                match crate::sys::pidfd::send_signal(
                    pidfd.as_fd(),
                    Some(nix::sys::signal::Signal::SIGKILL),
                ) {
                    Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                    Err(errno) => return Err(SysError::plain("pidfd_send_signal", errno)),
                }
            }
            self.rest(&[pidfd.as_fd()], Duration::from_millis(20))?;
        }
        self.reaper.look()
    }

    /// Empties and removes the run, or a part of it, in all hierarchies, and reaps meanwhile.
    /// Everything that bears the name is found, wherever it is.
    pub(crate) fn clean(&mut self, part: Option<&str>) -> Result<(), TrialError> {
        let started = time::now();
        let shared = match part {
            Some(_) => self.shared_of_trials()?,
            // As long as it is mounted it stays.
            None => {
                self.shared = None;
                Vec::new()
            }
        };
        let name = &self.options.name;
        let reaper = &mut self.reaper;
        let mut failed = None;
        let mut meanwhile = || {
            if let Err(e) = reaper.look() {
                failed = Some(e);
            }
        };
        let deadline = started + CLEANING;
        let answer = match part {
            None => leftovers::remove_run(
                name,
                Some(self.base.cgroup().path()),
                deadline,
                &mut meanwhile,
            ),
            Some(part) => {
                let own = V1Dirs::of(self.base.limits(), &Path::new(name).join(part));
                let own = own.iter().flat_map(V1Dirs::iter).cloned();
                let own = own.chain(shared).collect();
                leftovers::remove_part(
                    self.cgroup.path().join(part),
                    own,
                    &format!("{name}.{part}"),
                    deadline,
                    &mut meanwhile,
                )
            }
        };
        self.reaper.look()?;
        if let Some(failed) = failed {
            return Err(failed.into());
        }
        answer.map_err(|(path, e)| TrialError::Stuck {
            path,
            seconds: time::now().since(started).as_secs(),
            why: e.to_string(),
        })
    }

    /// What trials have made in the hierarchy that they share. It is mounted when the first one has
    /// made it, and stays so: to mount it costs more than to look.
    fn shared_of_trials(&mut self) -> Result<Vec<PathBuf>, TrialError> {
        let name = named::shared_of(&self.options.name);
        if self.shared.is_none() && named::present()?.contains(&name) {
            self.shared = Some(Named::mount(&name)?);
        }
        match &self.shared {
            Some(shared) => Ok(shared.of_trials()?),
            None => Ok(Vec::new()),
        }
    }

    /// Makes a cgroup of the run with limits around it, and the limits of a hybrid machine, for
    /// something else than a trial. After an error nothing of it is there.
    pub(crate) fn belted(
        &mut self,
        name: &str,
        limits: Limits,
    ) -> Result<(Cgroup, Option<V1Dirs>), TrialError> {
        let made = || -> Result<_, TrialError> {
            let cgroup = self.cgroup.create(name)?;
            let v1 = V1Dirs::of(self.limits(), &Path::new(self.name()).join(name));
            v1.iter().try_for_each(V1Dirs::make)?;
            limits::apply(self.limits(), &cgroup, v1.as_ref(), limits)?;
            Ok((cgroup, v1))
        };
        match made() {
            Ok(made) => Ok(made),
            Err(error) => Err(self.undo(name, error)),
        }
    }

    /// Removes what was made of a part before `error`, which is returned.
    pub(super) fn undo(&mut self, part: &str, error: TrialError) -> TrialError {
        if let Err(e) = self.clean(Some(part)) {
            tracing::warn!(error = %e, part, "could not remove what was made of a part of the run");
        }
        error
    }

    /// Children that ought to be there.
    pub(super) fn expected_children(&self) -> Vec<nix::unistd::Pid> {
        self.protection.guards().collect()
    }

    pub(super) fn options(&self) -> &RunOptions {
        &self.options
    }

    pub(super) fn limits(&self) -> &LimitSource {
        self.base.limits()
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    pub(crate) fn control(&self) -> &Cgroup {
        &self.control
    }

    /// The actors' user, which no other process has. Absent if the harness is not root; actors then
    /// have the harness's own user.
    pub fn credentials(&self) -> Option<Credentials> {
        self.actors.as_ref().map(|actors| Credentials {
            uid: actors.uid,
            gid: actors.uid,
        })
    }
}

/// The run's cgroup with its limits, and the one of its helpers.
fn make(base: &Base, name: &str) -> Result<(Cgroup, Cgroup), TrialError> {
    let cgroup = base.cgroup().create(name)?;
    if let LimitSource::V2 { memory, cpu } = *base.limits() {
        // Whatever a stage may limit: `memory`, and `cpu` for what is throttled.
        let also = [(memory, " +memory"), (cpu, " +cpu")];
        let also = also.into_iter().filter(|(has, _)| *has);
        let names: String = also.map(|(_, name)| name).collect();
        cgroup.write("cgroup.subtree_control", &format!("+pids{names}"))?;
    }
    let v1 = V1Dirs::of(base.limits(), name.as_ref());
    v1.iter().try_for_each(V1Dirs::make)?;
    let control = cgroup.create("control")?;
    Ok((cgroup, control))
}
