//! Where to search for a base, and the error if there is none.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::remedy::{self, Facts};
use super::{Base, Place, Refusal};
use crate::layout::{Layout, Paths};
use crate::limits::LimitSource;
use crate::sys::xattr;

/// One place that was tried, and why it is not usable.
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

impl NoBase {
    /// The error after these attempts, with what would help.
    pub fn after(attempts: Vec<Attempt>, paths: &Paths, layout: &Layout, euid: u32) -> Self {
        let remedies = remedy::for_no_base(&Facts::gather(paths, layout, euid), &attempts);
        Self { attempts, remedies }
    }
}

impl fmt::Display for NoBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "found no cgroup in which children can be made and limited"
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

/// A place to try, or why there is no such place.
#[derive(Debug)]
pub struct Candidate {
    /// In words.
    pub what: String,
    /// Its directory, and whether this process is a member.
    pub place: Result<(PathBuf, bool), Refusal>,
}

/// Own cgroup, and the v2 mount of a hybrid machine, in this order.
pub fn candidates(layout: &Layout) -> Vec<Candidate> {
    let own = layout.own_v2();
    let what = match &own {
        Ok(path) => format!("own cgroup {}", path.display()),
        Err(_) => "own cgroup".to_owned(),
    };
    let hybrid = layout
        .v2()
        .filter(|mount| layout.hybrid() && own.as_ref() != Ok(&mount.point));
    let mut candidates = vec![Candidate {
        what,
        place: own.map(|path| (path, true)).map_err(Refusal::from),
    }];
    candidates.extend(hybrid.map(|mount| Candidate {
        what: format!(
            "the v2 mount {} of this hybrid machine",
            mount.point.display()
        ),
        place: Ok((mount.point.clone(), false)),
    }));
    candidates
}

/// An error if `path` is mounted read-only.
pub fn writable(layout: &Layout, path: &Path) -> Result<(), Refusal> {
    let over = layout.mounts.iter().filter(|m| path.starts_with(&m.point));
    // The deepest mount is the one that counts; a later line covers an earlier one.
    match over.max_by_key(|m| m.point.components().count()) {
        Some(mount) if mount.read_only() => Err(Refusal::ReadOnly(mount.point.clone())),
        _ => Ok(()),
    }
}

/// Why controllers may be enabled for the children of `path`, or why they may not.
pub fn authority(paths: &Paths, path: &Path, euid: u32) -> Result<&'static str, &'static str> {
    if delegated(path) {
        Ok("systemd has marked it as delegated")
    } else if euid != 0 && std::fs::metadata(path).is_ok_and(|meta| meta.uid() == euid) {
        Ok("it belongs to this user")
    } else if euid == 0 && !paths.systemd() {
        Ok("no service manager owns it")
    } else {
        Err("it is not delegated to this process, so its controllers are not touched")
    }
}

/// Whether systemd has marked the cgroup as delegated (`Delegate=`, systemd.resource-control(5)).
fn delegated(path: &Path) -> bool {
    let marked = |name| xattr::get(path, name).is_ok_and(|value| value == b"1");
    marked(c"user.delegate") || marked(c"trusted.delegate")
}

/// Searches; returns the first place with a limit on tasks, else the first usable one.
pub(super) fn find(paths: &Paths, prefix: &str) -> Result<Base, NoBase> {
    let euid = nix::unistd::geteuid().as_raw();
    let layout = match Layout::read(paths) {
        Ok(layout) => layout,
        Err(e) => {
            let why = Refusal::Other(e.to_string());
            let what = "the cgroup hierarchies of this machine".to_owned();
            let attempts = vec![Attempt { what, why }];
            return Err(NoBase::after(attempts, paths, &Layout::default(), euid));
        }
    };
    let mut all = candidates(&layout);
    // A service may live in a child of what was delegated to it (`DelegateSubgroup=`): then its
    // parent has no members, and can enable controllers.
    let parent = layout
        .own_v2()
        .ok()
        .and_then(|own| Some(own.parent()?.to_path_buf()));
    if let Some(parent) = parent.filter(|parent| delegated(parent)) {
        all.insert(
            0,
            Candidate {
                what: format!("the delegated parent {} of own cgroup", parent.display()),
                place: Ok((parent, false)),
            },
        );
    }
    let (mut attempts, mut unlimited) = (Vec::new(), None);
    for Candidate { what, place } in all {
        let tried = place.and_then(|(path, _)| {
            writable(&layout, &path)?;
            Place {
                authority: authority(paths, &path, euid),
                how: what.clone(),
                path,
                tasks_limit: false,
                prefix,
                layout: &layout,
            }
            .qualify()
        });
        match tried {
            Ok(base) if *base.limits() == LimitSource::None => {
                unlimited.get_or_insert(base);
            }
            Ok(base) => return Ok(base),
            Err(why) => attempts.push(Attempt { what, why }),
        }
    }
    unlimited.ok_or_else(|| NoBase::after(attempts, paths, &layout, euid))
}

/// Tries the cgroup that was named.
pub(super) fn at(path: &Path, paths: &Paths, prefix: &str) -> Result<Base, NoBase> {
    let euid = nix::unistd::geteuid().as_raw();
    let what = path.display().to_string();
    let layout = Layout::read(paths);
    let tried = layout
        .as_ref()
        .map_err(|e| Refusal::Other(e.to_string()))
        .and_then(|layout| {
            writable(layout, path)?;
            Place {
                authority: Ok("the caller named it"),
                how: what.clone(),
                path: path.to_path_buf(),
                tasks_limit: false,
                prefix,
                layout,
            }
            .qualify()
        });
    tried.map_err(|why| {
        let attempts = vec![Attempt { what, why }];
        NoBase::after(attempts, paths, &layout.unwrap_or_default(), euid)
    })
}
