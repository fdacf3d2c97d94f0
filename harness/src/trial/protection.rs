//! The protection that is set up before the first probe: two guards, the subreaper flag, and signal
//! handling.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::TrialError;
use super::guard::{Guards, REMOVING};
use crate::error::SysError;
use crate::host::{Journal, leftovers, run_name};
use crate::sys::fork;
use crate::sys::interrupt::Handled;
pub use crate::sys::interrupt::Words;
use crate::sys::time;

/// While it exists, nothing that this process creates in a cgroup hierarchy can outlive the
/// process.
///
/// Everything that is made must bear the run's name ([`run_name`]). The process must have a single
/// thread. While it exists:
///
/// - two guards remove all of that if this process dies, or if one of them does;
/// - `SIGINT`, `SIGTERM` and `SIGHUP` (unless ignored) have all of that removed and end this
///   process, outside of a [`super::Run`], which reads them from a descriptor;
/// - this process is the subreaper of its descendants.
///
/// Its end, and dropping it, remove what is still there.
#[derive(Debug)]
pub struct Protection {
    name: String,
    extra: Option<PathBuf>,
    journal: Arc<Journal>,
    // Before the guards: its handler uses their descriptors.
    handled: Handled,
    guards: Guards,
    was_subreaper: bool,
    ended: bool,
    /// A run has removed everything itself.
    finished: Cell<bool>,
}

impl Protection {
    /// Begins. `extra`: a cgroup that the user named, in which runs are looked for too. An
    /// interruption ends the process with `code` and `words`.
    pub fn begin(
        extra: Option<&Path>,
        code: u8,
        words: &'static Words,
    ) -> Result<Self, TrialError> {
        let threads =
            fork::thread_count().map_err(|e| SysError::path("readdir", "/proc/self/task", e))?;
        if threads != 1 {
            return Err(TrialError::Threads(threads));
        }
        let name = run_name()?;
        let journal = Journal::new()?;
        let was_subreaper = prctl::get_child_subreaper()
            .map_err(|e| SysError::plain("PR_GET_CHILD_SUBREAPER", e))?;
        let guards = Guards::start(&name, extra, &journal)?;
        let handled = Handled::install(guards.remove(), guards.pidfds(), code, words);
        let protection = Self {
            name,
            extra: extra.map(Path::to_path_buf),
            journal: Arc::new(journal),
            handled: handled.map_err(|e| SysError::plain("sigaction", e))?,
            guards,
            was_subreaper,
            ended: false,
            finished: Cell::new(false),
        };
        prctl::set_child_subreaper(true)
            .map_err(|e| SysError::plain("PR_SET_CHILD_SUBREAPER", e))?;
        Ok(protection)
    }

    /// The name of all runs of this process.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the search for a base notes what it changes, so that the guards can undo it.
    pub fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// An error if a guard has died: then the run has to end.
    pub fn check(&self) -> Result<(), TrialError> {
        match self.guards.dead()? {
            None => Ok(()),
            Some(pid) => Err(TrialError::Guard(pid.as_raw())),
        }
    }

    /// Ends it: removes what is still there of the run, and dismisses the guards. An error if a
    /// guard has died before, or if something could not be removed.
    pub fn end(mut self) -> Result<(), TrialError> {
        let checked = self.check();
        self.dismiss()?;
        checked
    }

    /// As [`Self::end`]. A second call does nothing.
    fn dismiss(&mut self) -> Result<(), TrialError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let removed = if self.finished.get() {
            Ok(())
        } else {
            let deadline = time::now() + REMOVING;
            leftovers::remove_run(&self.name, self.extra.as_deref(), deadline, &mut || {})
        };
        // The guards may be able to remove what this process cannot.
        let told = self.guards.dismiss(removed.is_ok());
        removed.map_err(|(path, e)| TrialError::Stuck {
            path,
            seconds: REMOVING.as_secs(),
            why: e.to_string(),
        })?;
        Ok(told?)
    }

    /// A run has begun, or has ended, when nothing was left and nothing will be made any more.
    pub(super) fn set_finished(&self, finished: bool) {
        self.finished.set(finished);
    }

    /// The signals that end the process.
    pub(super) fn signals(&self) -> impl Iterator<Item = Signal> + '_ {
        self.handled.signals()
    }

    /// Children that are there as long as this is.
    pub(super) fn guards(&self) -> impl Iterator<Item = Pid> + '_ {
        self.guards.pids()
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        if let Err(error) = self.dismiss() {
            tracing::warn!(%error, "could not end the protection");
        }
        // It only fails for an argument that was accepted before.
        if let Err(errno) = prctl::set_child_subreaper(self.was_subreaper) {
            tracing::warn!(%errno, "could not restore the subreaper flag");
        }
    }
}
