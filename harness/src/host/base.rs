//! Finding a cgroup that may be used: the first of a few places where children can be made, limited
//! and entered.
//!
//! In this order: what the user named; own cgroup; the v2 mount of a hybrid machine; a scope from
//! systemd. Each place is tried for real (`candidate.rs`), and each refusal is kept with its
//! reason. What is never done: changing a cgroup, a controller or a limit beyond what delegation
//! requires, and what is done is listed in [`Base::changes`].

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Base;
use super::Paths;
use super::candidate::{Candidate, Refusal, qualify};
use super::journal::Journal;
use super::mounts::Layout;
use super::remedy::{self, Facts};
use super::rerun::{self, Program, Rerun};

/// What the user and the surroundings say about where to look.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--cgroup PATH`: only this one.
    pub cgroup: Option<PathBuf>,
    /// Be content without a pids limit; bombs are then refused.
    pub allow_no_limits: bool,
    /// Where changes to cgroups that are not a run's own are noted, for its guards.
    pub journal: Option<Arc<Journal>>,
    /// How to run this program again; `None` forbids it.
    pub program: Option<Program>,
    /// Where the machine's files are.
    pub paths: Paths,
}

impl Options {
    /// This process on this machine, with no wishes.
    pub fn here() -> Self {
        Self {
            program: Program::this(),
            ..Self::default()
        }
    }
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// A cgroup.
    Here(Box<Base>),
    /// A way to get one: say why on standard error, then execute the command.
    Rerun(Box<Rerun>),
}

/// One place that was tried, and why it does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which place.
    pub what: String,
    /// Why not.
    pub why: Refusal,
}

/// No cgroup qualifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoBase {
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
    /// What would help on this machine.
    pub remedies: Vec<String>,
}

impl fmt::Display for NoBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "found no cgroup in which children can be made and given a pids limit"
        )?;
        for attempt in &self.attempts {
            write!(f, "\n  tried {}: {}", attempt.what, attempt.why)?;
        }
        for remedy in &self.remedies {
            write!(f, "\n  help: {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NoBase {}

/// Looks for a base.
pub fn find(options: &Options, layout: &Layout, euid: u32) -> Result<Found, NoBase> {
    search(options, layout, euid, &mut qualify)
}

/// The order of attempts; `qualify` tries one.
fn search(
    options: &Options,
    layout: &Layout,
    euid: u32,
    qualify: &mut dyn FnMut(&Candidate<'_>) -> Result<Base, Refusal>,
) -> Result<Found, NoBase> {
    let mut attempts = Vec::new();
    for (what, place) in places(options, layout) {
        let tried = place.and_then(|(path, own)| {
            read_only(layout, &path)?;
            qualify(&Candidate {
                authority: authority(options, &path, euid),
                how: what.clone(),
                path,
                own,
                allow_no_limits: options.allow_no_limits,
                journal: options.journal.clone(),
                layout,
            })
        });
        match tried {
            Ok(base) => return Ok(Found::Here(Box::new(base))),
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
    let remedies = remedy::for_no_base(&Facts::gather(options, layout, euid), &attempts);
    Err(NoBase { attempts, remedies })
}

/// A place to try, with whether this process is a member, or why there is no such place.
type Place = Result<(PathBuf, bool), Refusal>;

fn places(options: &Options, layout: &Layout) -> Vec<(String, Place)> {
    let own = layout.own_v2();
    if let Some(path) = &options.cgroup {
        let member = own.as_ref().is_ok_and(|own| own == path);
        return vec![(
            format!("--cgroup {}", path.display()),
            Ok((path.clone(), member)),
        )];
    }
    let mut places = Vec::new();
    let what = match &own {
        Ok(path) => format!("own cgroup {}", path.display()),
        Err(_) => "own cgroup".to_owned(),
    };
    let hybrid = layout
        .v2()
        .filter(|mount| layout.hybrid() && own.as_ref() != Ok(&mount.point));
    places.push((what, own.map(|path| (path, true)).map_err(Refusal::from)));
    if let Some(mount) = hybrid {
        let what = format!(
            "the v2 mount {} of this hybrid machine",
            mount.point.display()
        );
        places.push((what, Ok((mount.point.clone(), false))));
    }
    places
}

fn read_only(layout: &Layout, path: &Path) -> Result<(), Refusal> {
    let over = layout.mounts.iter().filter(|m| path.starts_with(&m.point));
    // The deepest mount is the one that counts; a later line covers an earlier one.
    match over.max_by_key(|m| m.point.components().count()) {
        Some(mount) if mount.read_only() => Err(Refusal::ReadOnly(mount.point.clone())),
        _ => Ok(()),
    }
}

/// Why controllers may be enabled for the children of `path`, or why not.
fn authority(options: &Options, path: &Path, euid: u32) -> Result<&'static str, &'static str> {
    let marked =
        |name: &str| xattr::get(path, name).is_ok_and(|value| value.as_deref() == Some(b"1"));
    if options.cgroup.is_some() {
        Ok("the user named it")
    } else if options.program.as_ref().is_some_and(|p| p.in_scope) {
        Ok("it is the scope that was made for this run")
    } else if marked("user.delegate") || marked("trusted.delegate") {
        Ok("systemd has marked it as delegated")
    } else if euid != 0 && std::fs::metadata(path).is_ok_and(|meta| meta.uid() == euid) {
        Ok("it belongs to this user")
    } else if euid == 0 && !options.paths.systemd() {
        Ok("no service manager owns it")
    } else {
        Err("it is not delegated to this process, so its controllers are not touched")
    }
}

#[cfg(test)]
#[path = "base_tests.rs"]
mod tests;
