//! The machine around a run: protecting it, finding a cgroup, running this program again if systemd
//! has to make one, and undoing all changes.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, anyhow};
use harness::host::{self, Base, Detected, Options, Surveyed};
use harness::trial::{Protection, TrialError, Words};

use super::exit::{Exit, Failure};
use super::term::note;

/// The message when a signal ends the command outside of a run.
static INTERRUPTED: Words = Words {
    removed: "interrupted; nothing was left behind\n",
    left: "interrupted, and not everything could be removed: `scenario clean` tries again\n",
    guard: "error: a guard of this run was killed, so the run was ended; nothing was left behind\n",
};

/// The machine, and the protection under which it was looked at.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// What there is.
    pub here: Surveyed,
    /// From before the first probe on.
    pub protection: Rc<Protection>,
}

impl Surroundings {
    /// Probes the machine. If the only way to a cgroup is to run this program again in a scope of
    /// systemd, this does not return.
    pub(super) fn look(cgroup: Option<PathBuf>, allow_no_limits: bool) -> Result<Self, Failure> {
        harness::host::check_proc().map_err(Failure::missing)?;
        let protection =
            Protection::begin(cgroup.as_deref(), Exit::Incomplete.code(), &INTERRUPTED)
                .context("could not protect what is going to be done")?;
        let options = Options {
            cgroup,
            allow_no_limits,
            journal: Some(protection.journal()),
            ..Options::here()
        };
        match host::detect(&options).context("could not read the facts about this machine")? {
            Detected::Here(here) => Ok(Self {
                here: *here,
                protection: Rc::new(protection),
            }),
            Detected::Rerun(mut rerun) => {
                protection.end().map_err(ended)?;
                note(&rerun.why);
                let error = rerun.command.exec();
                Err(Failure::missing(anyhow!(
                    "could not run this program again: {error}"
                )))
            }
        }
    }

    /// The base; having none is a missing feature.
    pub(super) fn base(&self) -> Result<&Base, Failure> {
        match (&self.here.host.base, &self.here.no_base) {
            (Some(base), _) => Ok(base),
            (None, Some(no_base)) => Err(Failure::missing(no_base.clone())),
            (None, None) => Err(Failure::missing(anyhow!("no cgroup was found"))),
        }
    }

    /// As [`Self::leave`], after a run: reports what could not be undone. An incomplete run has
    /// reported its reason itself.
    pub(super) fn leave_with(self, result: Result<Exit, Failure>) -> Result<Exit, Failure> {
        match (self.leave(), result) {
            (Ok(left), result) => {
                left.iter().for_each(|left| note(format!("error: {left}")));
                result
            }
            (Err(_), result @ (Err(_) | Ok(Exit::Incomplete | Exit::Internal))) => result,
            (Err(failure), Ok(_)) => Err(failure),
        }
    }

    /// Undoes what was changed to get the base, and ends the protection. Returns what could not be
    /// undone. An error if a guard has died: then the results are not reliable.
    pub(super) fn leave(mut self) -> Result<Vec<String>, Failure> {
        let errors = self.here.give_back();
        // A run that is over has given its share back.
        Rc::into_inner(self.protection)
            .map_or(Ok(()), Protection::end)
            .map_err(ended)?;
        Ok(errors
            .iter()
            .map(|error| format!("a change that could not be undone: {error}"))
            .collect())
    }
}

/// A run that was ended by its protection is not complete.
fn ended(error: TrialError) -> Failure {
    Failure::incomplete(error)
}
