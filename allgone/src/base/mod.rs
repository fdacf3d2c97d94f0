//! A cgroup below which this process may make others, and which limits they can be given.
//!
//! The search tries each place, and changes nothing else to get one: the calling process is never
//! moved to another cgroup, and never executed again. If nothing is delegated to it, [`NoBase`]
//! says what was tried and what the user can do.

mod controllers;
pub mod name;
mod qualify;
mod remedy;
mod search;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cgroup::{Cgroup, CgroupError};
use crate::error::SysError;
use crate::layout::Paths;
use crate::limits::LimitSource;

use self::controllers::Shared;
use self::name::OwnerId;

pub use self::controllers::MARK;
pub use self::qualify::{PROBE_MEMORY, PROBE_TASKS, Place, open_v2, try_v1};
pub use self::search::{Attempt, Candidate, NoBase, authority, candidates, writable};
pub use crate::probe::Refusal;

/// The prefix of the names of cgroups that this library makes.
pub const PREFIX: &str = "allgone-";

/// The cgroup below which the cgroups of jobs are made. Cheap to clone.
///
/// Controllers that were not enabled for its children are enabled for as long as a process uses it:
/// when the last base at this place is dropped, in whatever process, they are disabled again. If
/// the last process is killed instead, the next user of the place does it.
///
/// ```no_run
/// use allgone::base::Base;
///
/// let base = Base::find()?;
/// let job = base.create()?;
/// println!("{} of {}: limits {:?}", job.path().display(), base.how(), base.limits());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Base(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cgroup: Cgroup,
    limits: LimitSource,
    how: String,
    changes: Vec<String>,
    notes: Vec<String>,
    /// The prefix of the names of everything that is made here.
    name: String,
    shared: Option<Shared>,
    /// The process that it belongs to: a forked child of it undoes nothing.
    pid: u32,
}

/// Everything that is made in this process, by any base, has a number of its own.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Base {
    /// Searches for a cgroup that may be used: a parent of the own cgroup that systemd has
    /// delegated, the own cgroup, the v2 mount of a hybrid machine. The first one with a limit on
    /// tasks is taken, else the first usable one; [`Base::notes`] says what it lacks.
    ///
    /// Starts a process in each, in a cgroup that is made and removed again.
    ///
    /// Errors: none qualifies; the error lists what was tried, and what would help.
    pub fn find() -> Result<Self, NoBase> {
        search::find(&Paths::default(), PREFIX)
    }

    /// The cgroup v2 directory `path`, if children can be made there and processes be born in them.
    /// Controllers are enabled for its children if it has no members.
    ///
    /// Errors: as [`Base::find`].
    pub fn at(path: impl AsRef<Path>) -> Result<Self, NoBase> {
        search::at(path.as_ref(), &Paths::default(), PREFIX)
    }

    /// A cgroup without checks: nothing is tried, nothing is changed. `name` is the prefix of the
    /// names that are made there.
    pub fn given(cgroup: Cgroup, limits: LimitSource, name: String) -> Self {
        let mut inner = Inner::new(cgroup, name, "given".to_owned());
        inner.limits = limits;
        Self(Arc::new(inner))
    }

    /// The cgroup.
    pub fn cgroup(&self) -> &Cgroup {
        &self.0.cgroup
    }

    /// Which limits children can be given.
    pub fn limits(&self) -> &LimitSource {
        &self.0.limits
    }

    /// How it was found, in words.
    pub fn how(&self) -> &str {
        &self.0.how
    }

    /// What was changed here, in words: controllers that were enabled.
    pub fn changes(&self) -> &[String] {
        &self.0.changes
    }

    /// What is missing, with the reason: a memory limit, for example.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// The prefix of the names of what this process makes here: [`OwnerId`] after a prefix.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A unique name that identifies its owner: `allgone-<pid>-<start>-<pidns>.<n>`.
    ///
    /// Errors: in a child that was forked without exec, if `/proc` cannot be read.
    pub fn child_name(&self) -> Result<String, SysError> {
        self.0.child_name()
    }

    /// Makes a child with such a name.
    pub fn create(&self) -> Result<Cgroup, CgroupError> {
        self.0.cgroup.create(&self.child_name()?)
    }

    /// Releases it: if this is the last base at this place, changes are undone, and those that
    /// could not be undone are returned. Dropping it does the same silently.
    pub fn close(self) -> Vec<CgroupError> {
        Arc::into_inner(self.0).map_or_else(Vec::new, |mut inner| inner.undo())
    }
}

impl Inner {
    fn new(cgroup: Cgroup, name: String, how: String) -> Self {
        Self {
            cgroup,
            limits: LimitSource::None,
            how,
            changes: Vec::new(),
            notes: Vec::new(),
            name,
            shared: None,
            pid: std::process::id(),
        }
    }

    fn child_name(&self) -> Result<String, SysError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if self.pid == std::process::id() {
            return Ok(format!("{}.{number}", self.name));
        }
        // A child that was forked from the owner has its count, too.
        Ok(format!("{}.{}.{number}", self.name, std::process::id()))
    }

    fn undo(&mut self) -> Vec<CgroupError> {
        match self.shared.take() {
            Some(shared) if self.pid == std::process::id() => shared.undo(&self.cgroup),
            // Unlocking would unlock it for the process that it belongs to, too.
            Some(shared) => {
                shared.forget();
                Vec::new()
            }
            None => Vec::new(),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.undo());
    }
}

/// A name that nothing else has, and that says whose it is: `<prefix><pid>-<start>-<pidns>.<n>`.
///
/// Errors: `/proc` cannot be read.
pub fn unique_name(prefix: &str) -> Result<String, SysError> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{}.{number}", own_name(prefix)?))
}

/// The prefix of the names that this process gives.
fn own_name(prefix: &str) -> Result<String, SysError> {
    Ok(format!("{prefix}{}", OwnerId::own()?))
}
