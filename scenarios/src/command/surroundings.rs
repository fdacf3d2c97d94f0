//! The machine around a run: finding a cgroup, running this program again where systemd has to make one, and giving back what was taken.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use harness::host::{Base, Detected, Host, Options};

use super::exit::Failure;
use super::term::note;

/// Looks for a base. If that takes running this program again in a scope of systemd, this does not return.
pub fn find(cgroup: Option<PathBuf>, allow_no_belt: bool) -> Result<(Host, Base), Failure> {
    let options = Options {
        cgroup,
        allow_no_belt,
        ..Options::here()
    };
    let mut host = match Host::detect(&options).context("could not look at this machine")? {
        Detected::Host(host) => *host,
        Detected::Rerun(mut rerun) => {
            note(&rerun.why);
            let error = rerun.command.exec();
            return Err(Failure::missing(anyhow!("could not run this program again: {error}")));
        }
    };
    match (host.base.take(), host.no_base.take()) {
        (Some(base), _) => Ok((host, base)),
        (None, Some(no_base)) => Err(Failure::missing(no_base)),
        (None, None) => Err(Failure::missing(anyhow!("no cgroup was found"))),
    }
}

/// Gives back what was changed to get the base. Returns what could not be given back.
pub fn undo(mut base: Base) -> Vec<String> {
    base.undo().iter().map(|error| format!("a change that could not be taken back: {error}")).collect()
}
