//! Finding a cgroup that may be used: the first of a few places where children can be made, limited
//! and entered.
//!
//! In this order: what the user named; own cgroup; the v2 mount of a hybrid machine; a scope from
//! systemd. Each place is tried for real ([`Place::qualify`]), and each refusal is kept with its
//! reason. What is never done: changing a cgroup, a controller or a limit beyond what delegation
//! requires, and what is done is listed in [`super::Surveyed::changes`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allgone::base::{self, Attempt, Base, NoBase, Place, Refusal};
use allgone::layout::{Layout, Paths};

use super::delegation::{Delegation, EnableError};
use super::journal::Journal;
use super::name::PREFIX;
use super::rerun::{self, Program, Rerun};
use crate::cgroup::Cgroup;

/// What the user and the surroundings say about where to look.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--cgroup PATH`: only this one.
    pub cgroup: Option<PathBuf>,
    /// Accept a cgroup without a pids limit; bombs are then refused.
    pub allow_no_limits: bool,
    /// Where changes to cgroups that are not a run's own are noted, for its guards.
    pub journal: Option<Arc<Journal>>,
    /// How to run this program again; `None` forbids it.
    pub program: Option<Program>,
    /// Where the machine's files are.
    pub paths: Paths,
}

impl Options {
    /// This process on this machine, with no preferences.
    pub fn here() -> Self {
        Self {
            program: Program::this(),
            ..Self::default()
        }
    }
}

/// A base, and what was changed to get it.
#[derive(Debug)]
pub struct Held {
    /// The base.
    pub base: Base,
    /// Controllers that were enabled, this process moved to a leaf.
    pub delegation: Delegation,
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// A cgroup.
    Here(Box<Held>),
    /// A way to get one: say why on standard error, then execute the command.
    Rerun(Box<Rerun>),
}

/// Looks for a base.
pub fn find(options: &Options, layout: &Layout, euid: u32) -> Result<Found, NoBase> {
    search(options, layout, euid, &mut qualify)
}

/// A cgroup to try, and whether this process is a member.
#[derive(Debug)]
struct Candidate<'a> {
    path: PathBuf,
    own: bool,
    how: String,
    authority: Result<&'static str, &'static str>,
    options: &'a Options,
    layout: &'a Layout,
}

/// The order of attempts; `qualify` tries one.
fn search(
    options: &Options,
    layout: &Layout,
    euid: u32,
    qualify: &mut dyn FnMut(&Candidate<'_>) -> Result<Held, Refusal>,
) -> Result<Found, NoBase> {
    let mut attempts = Vec::new();
    for base::Candidate { what, place } in places(options, layout) {
        let tried = place.and_then(|(path, own)| {
            base::writable(layout, &path)?;
            qualify(&Candidate {
                authority: authority(options, &path, euid),
                how: what.clone(),
                path,
                own,
                options,
                layout,
            })
        });
        match tried {
            Ok(held) => return Ok(Found::Here(Box::new(held))),
            Err(why) => attempts.push(Attempt { what, why }),
        }
    }
    if options.cgroup.is_none() {
        match rerun::through_systemd(options.program.as_ref(), options.paths.systemd(), euid) {
            Ok(rerun) => return Ok(Found::Rerun(Box::new(rerun))),
            Err(why) => attempts.push(Attempt {
                what: "a scope from systemd-run".to_owned(),
                why,
            }),
        }
    }
    let mut none = NoBase::after(attempts, &options.paths, layout, euid);
    none.remedies.push(match &options.cgroup {
        Some(_) => "leave out --cgroup to search for one".to_owned(),
        None => "name a cgroup v2 directory that you may use: --cgroup PATH".to_owned(),
    });
    none.remedies.push(
        "or run the same command in a virtual machine, which needs no cgroup of this one: add --vm"
            .to_owned(),
    );
    Err(none)
}

fn places(options: &Options, layout: &Layout) -> Vec<base::Candidate> {
    let Some(path) = &options.cgroup else {
        return base::candidates(layout);
    };
    let member = layout.own_v2().is_ok_and(|own| own == *path);
    vec![base::Candidate {
        what: format!("--cgroup {}", path.display()),
        place: Ok((path.clone(), member)),
    }]
}

/// Why controllers may be enabled for the children of `path`, or why they may not.
fn authority(options: &Options, path: &Path, euid: u32) -> Result<&'static str, &'static str> {
    if options.cgroup.is_some() {
        Ok("the user named it")
    } else if options.program.as_ref().is_some_and(|p| p.in_scope) {
        Ok("it is the scope that was made for this run")
    } else {
        base::authority(&options.paths, path, euid)
    }
}

/// Enables the pids controller if that is needed, and tries the place. On failure everything has
/// been taken back.
fn qualify(candidate: &Candidate<'_>) -> Result<Held, Refusal> {
    let cgroup = base::open_v2(&candidate.path)?;
    let mut delegation = delegate(&cgroup, candidate)?;
    let place = Place {
        path: candidate.path.clone(),
        how: candidate.how.clone(),
        authority: Err("it has been done as far as it may be"),
        tasks_limit: !candidate.options.allow_no_limits,
        prefix: PREFIX,
        layout: candidate.layout,
    };
    match place.qualify() {
        Ok(base) => Ok(Held { base, delegation }),
        Err(refusal) => {
            for failed in delegation.undo() {
                tracing::warn!(error = %failed, "could not undo a step of delegation");
            }
            Err(refusal)
        }
    }
}

fn delegate(cgroup: &Cgroup, candidate: &Candidate<'_>) -> Result<Delegation, Refusal> {
    let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|c| c == name);
    let available = cgroup.read("cgroup.controllers")?;
    let enabled = cgroup.read("cgroup.subtree_control")?;
    if has(&enabled, "pids") || !has(&available, "pids") {
        return Ok(Delegation::default());
    }
    candidate
        .authority
        .map_err(|why| Refusal::NotDelegated(why.to_owned()))?;
    let wanted: &[&str] = if has(&available, "memory") {
        &["pids", "memory"]
    } else {
        &["pids"]
    };
    let journal = candidate.options.journal.clone();
    match Delegation::enable(cgroup, candidate.own, wanted, journal) {
        Ok(delegation) => Ok(delegation),
        Err(EnableError::Cgroup(e)) => Err(Refusal::Cgroup(e)),
        Err(members @ EnableError::Members { .. }) => {
            Err(Refusal::NotDelegated(members.to_string()))
        }
    }
}

#[cfg(test)]
#[path = "base_tests.rs"]
mod tests;
