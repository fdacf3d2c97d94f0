//! The machine around a run: finding a cgroup, running this program again where systemd has to make one, and giving back what was taken.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use harness::host::{Base, Detected, Host, Options};

use super::exit::Failure;
use super::term::note;

/// Looks at the machine. If the only way to a cgroup is to run this program again in a scope of systemd, this does not return.
pub(super) fn look(cgroup: Option<PathBuf>, allow_no_belt: bool) -> Result<Host, Failure> {
    let options = Options {
        cgroup,
        allow_no_belt,
        ..Options::here()
    };
    match Host::detect(&options).context("could not look at this machine")? {
        Detected::Host(host) => Ok(*host),
        Detected::Rerun(mut rerun) => {
            note(&rerun.why);
            let error = rerun.command.exec();
            Err(Failure::missing(anyhow!("could not run this program again: {error}")))
        }
    }
}

/// The base of `host`; having none is a missing feature.
pub(super) fn base(host: &Host) -> Result<&Base, Failure> {
    match (&host.base, &host.no_base) {
        (Some(base), _) => Ok(base),
        (None, Some(no_base)) => Err(Failure::missing(no_base.clone())),
        (None, None) => Err(Failure::missing(anyhow!("no cgroup was found"))),
    }
}

/// Gives back what was changed to get the base. Returns what could not be given back.
pub(super) fn undo(host: &mut Host) -> Vec<String> {
    let errors = host.base.as_mut().map(Base::undo).unwrap_or_default();
    errors
        .iter()
        .map(|error| format!("a change that could not be taken back: {error}"))
        .collect()
}
