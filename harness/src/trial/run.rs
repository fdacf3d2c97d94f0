//! A run: the frame around its trials.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::belts::V1Belts;
use super::family::Family;
use super::leaks::{LeakReport, Snapshot, stray_children};
use super::users::{ACTOR_UIDS, unused};
use super::watchdog::Watchdog;
use super::{Limits, Site, TrialError, TrialSpec, belts, clean, play};
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::host::{Base, Belts, named};
use crate::record::TrialRecord;
use crate::sys::spawn::Credentials;
use crate::sys::{fork, time};

/// How long emptying and removing may take before it is called stuck.
const CLEANING: Duration = Duration::from_secs(60);
/// How long killed children may take until they can be reaped.
const DYING: Duration = Duration::from_secs(5);

/// What the user decides about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Name of the run's cgroup, `scenario-…`.
    pub name: String,
    /// Go on with hostile scenarios although there is no pids limit.
    pub no_belt: bool,
}

/// Trials one after another, below one cgroup, under one watchdog.
///
/// While it exists, the calling process is a subreaper, takes `SIGINT`, `SIGTERM`, `SIGHUP` and `SIGCHLD` through a descriptor, and reaps *all* its
/// children: it must have a single thread and no children of its own.
#[derive(Debug)]
pub struct Run<'b> {
    base: &'b Base,
    options: RunOptions,
    cgroup: Cgroup,
    control: Cgroup,
    v1: Option<V1Belts>,
    credentials: Option<Credentials>,
    before: Snapshot,
    watchdog: Option<Watchdog>,
    pub(super) family: Family,
}

impl<'b> Run<'b> {
    /// Makes the run's cgroups and starts its watchdog.
    pub fn start(base: &'b Base, options: RunOptions) -> Result<Self, TrialError> {
        let threads = fork::thread_count().map_err(|e| SysError::path("readdir", "/proc/self/task", e))?;
        if threads != 1 {
            return Err(TrialError::Threads(threads));
        }
        let credentials = if nix::unistd::geteuid().is_root() {
            let uid = unused(ACTOR_UIDS)?.ok_or(TrialError::Users(ACTOR_UIDS.start, ACTOR_UIDS.end - 1))?;
            Some(Credentials { uid, gid: uid })
        } else {
            None
        };
        let before = Snapshot::take(credentials.map(|c| c.uid))?;
        let family = Family::adopt()?;
        let cgroup = base.cgroup.create(&options.name)?;
        let made = || -> Result<_, TrialError> {
            if let Belts::V2 { memory } = base.belts {
                cgroup.write("cgroup.subtree_control", if memory { "+pids +memory" } else { "+pids" })?;
            }
            let v1 = V1Belts::make(&base.belts, options.name.as_ref())?;
            let control = cgroup.create("control")?;
            Ok((v1, control))
        };
        let (v1, control) = match made() {
            Ok(made) => made,
            Err(error) => {
                // What was made so far is empty, so this cannot fail for a reason that the first error does not explain.
                if let Err((_, e)) = cgroup.remove_tree() {
                    tracing::warn!(error = %e, "could not remove the run's cgroup");
                }
                return Err(error);
            }
        };
        let mut run = Self {
            base,
            options,
            cgroup,
            control,
            v1,
            credentials,
            before,
            watchdog: None,
            family,
        };
        run.watchdog = Some(Watchdog::start(&run.cgroup, &run.v1_dirs(), &run.options.name)?);
        Ok(run)
    }

    /// Runs one trial. A trial that breaks is a record; an error means that the run cannot go on.
    pub fn trial(&mut self, spec: &TrialSpec<'_>) -> Result<TrialRecord, TrialError> {
        let record = play::play(self, spec);
        self.family.forget();
        record
    }

    /// A site as a trial would have it, without a trial: for who arms or kills by hand. It is removed with the run.
    pub fn site(&self, spec: &TrialSpec<'_>) -> Result<Site, TrialError> {
        Site::make(self, spec)
    }

    /// Whether a signal has asked the run to end.
    pub fn interrupted(&mut self) -> bool {
        // A failed look is met again, and reported, by the next trial.
        match self.family.look() {
            Ok(()) | Err(_) => self.family.interrupted().is_some(),
        }
    }

    /// Removes everything and reports what was left.
    pub fn finish(mut self) -> Result<LeakReport, TrialError> {
        self.clean(&self.cgroup.try_clone()?, &self.v1_dirs())?;
        let mut report = Snapshot::take(self.credentials.map(|c| c.uid))?.new_since(&self.before);
        if let Some(watchdog) = self.watchdog.take() {
            let worker = watchdog.dismiss()?;
            self.reap(&worker.pidfd, Duration::from_secs(5))?;
        }
        let strays = self.strays(time::now() + DYING)?;
        report
            .left
            .extend(strays.into_iter().map(|pid| format!("process {pid}")));
        for dir in std::iter::once(self.cgroup.path().to_path_buf()).chain(self.v1_dirs()) {
            if dir.exists() {
                report.left.push(format!("cgroup {}", dir.display()));
            }
        }
        let hierarchies = named::of_run(&self.options.name)?;
        report
            .left
            .extend(hierarchies.into_iter().map(|name| format!("cgroup hierarchy {name}")));
        Ok(report)
    }

    /// Children that are there. A cgroup can be removed before those who were killed in it can be reaped (up to Linux 6.18 a task leaves it before
    /// its parent is told; from 7.1 who is exiting does not keep it): they are waited for until `patience`.
    fn strays(&mut self, patience: crate::MonoNs) -> Result<Vec<i32>, SysError> {
        loop {
            self.family.look()?;
            let strays = stray_children(&[])?;
            if strays.is_empty() || patience.has_passed() {
                return Ok(strays);
            }
            self.rest(&[], Duration::from_millis(1))?;
        }
    }

    /// How many processes the harness has reaped.
    pub fn reaped(&self) -> u64 {
        self.family.reaped()
    }

    /// Waits for the next signal, the next message, or `timeout`, whichever is first; reaps.
    pub(crate) fn rest(&mut self, also: &[std::os::fd::BorrowedFd<'_>], timeout: Duration) -> Result<(), SysError> {
        let mut fds = vec![PollFd::new(self.family.fd(), PollFlags::POLLIN)];
        fds.extend(also.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(SysError::plain("ppoll", errno)),
        }
        drop(fds);
        self.family.look()
    }

    /// Waits until a helper has ended and has been reaped; kills it if it takes longer than `patience`.
    pub(crate) fn reap(&mut self, pidfd: &std::os::fd::OwnedFd, patience: Duration) -> Result<(), SysError> {
        let deadline = time::now() + patience;
        while !crate::sys::pidfd::has_exited(pidfd.as_fd()).map_err(|e| SysError::plain("poll pidfd", e))? {
            if deadline.has_passed() {
                match crate::sys::pidfd::send_signal(pidfd.as_fd(), Some(nix::sys::signal::Signal::SIGKILL)) {
                    Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                    Err(errno) => return Err(SysError::plain("pidfd_send_signal", errno)),
                }
            }
            self.rest(&[pidfd.as_fd()], Duration::from_millis(20))?;
        }
        self.family.look()
    }

    /// Empties and removes a part of the run, reaping meanwhile.
    pub(crate) fn clean(&mut self, top: &Cgroup, v1: &[PathBuf]) -> Result<(), TrialError> {
        let family = &mut self.family;
        let mut failed = None;
        let answer = clean::empty_and_remove(top, v1, &self.options.name, time::now() + CLEANING, &mut || {
            if let Err(e) = family.look() {
                failed = Some(e);
            }
        });
        self.family.look()?;
        failed.map_or(answer, |e| Err(e.into()))
    }

    /// Makes a cgroup of the run with belts around it, and the belts of a hybrid machine, for something else than a trial.
    pub(crate) fn belted(&self, name: &str, limits: Limits) -> Result<(Cgroup, Option<V1Belts>), TrialError> {
        let cgroup = self.cgroup.create(name)?;
        let v1 = V1Belts::make(self.belts(), &std::path::Path::new(self.name()).join(name))?;
        belts::fasten(self.belts(), &cgroup, v1.as_ref(), limits)?;
        Ok((cgroup, v1))
    }

    fn v1_dirs(&self) -> Vec<PathBuf> {
        self.v1.iter().flat_map(V1Belts::dirs).cloned().collect()
    }

    /// Children that ought to be there.
    pub(super) fn expected_children(&self) -> Vec<nix::unistd::Pid> {
        self.watchdog.iter().map(Watchdog::pid).collect()
    }

    pub(super) fn options(&self) -> &RunOptions {
        &self.options
    }

    pub(super) fn belts(&self) -> &Belts {
        &self.base.belts
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    pub(super) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    pub(crate) fn control(&self) -> &Cgroup {
        &self.control
    }

    /// Whom actors become: a user that nobody else is. Absent where the harness is not root, and actors are the harness's own user.
    pub fn credentials(&self) -> Option<Credentials> {
        self.credentials
    }
}
