//! What a run makes in cgroup hierarchies, found by name: by `scenario clean` after a crash, by the
//! guards, and at the end of a run.
//!
//! A run's name identifies its owner ([`super::name`]). `scenario clean` touches only what belongs
//! to an owner that is known to be gone. A run that is still going on, or may be, is listed and
//! kept. Processes are ended by membership of such a cgroup, by pidfd, never by name.

mod emptying;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::mountinfo::Hierarchy;
use super::name::{Owner, PREFIX, RunName};
use super::{HostError, LEAF, Layout, Paths, named, scratch};
use crate::MonoNs;
use crate::cgroup::CgroupError;
use crate::error::{SysError, Target};
use emptying::Emptying;

/// What a run may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A cgroup of the v2 hierarchy.
    V2,
    /// A cgroup of a v1 hierarchy that the run did not mount.
    V1,
    /// A named v1 hierarchy of its own.
    Hierarchy,
    /// An instance of tracefs.
    Tracing,
    /// The directory of a program's files.
    Scratch,
}

/// A cgroup, a hierarchy of cgroups, or a tracing instance of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its directory; of a hierarchy the name that it has in `/proc/self/cgroup`.
    pub path: PathBuf,
    /// Which interface it has.
    pub kind: Kind,
    /// What is known about its owner.
    pub owner: Owner,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::V2 | Kind::V1 => "cgroup",
            Kind::Hierarchy => "cgroup hierarchy",
            Kind::Tracing => "tracing instance",
            Kind::Scratch => "directory",
        };
        write!(f, "{what} {}", self.path.display())
    }
}

/// What a clean-up did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// Directories that are gone now (each the top of what was removed), and how many processes
    /// were killed in each. A process that was in several counts in the first.
    pub removed: Vec<(PathBuf, usize)>,
    /// What was left alone, because its owner is alive or cannot be determined.
    pub kept: Vec<Leftover>,
    /// What could not be removed, and why.
    pub failed: Vec<(PathBuf, CgroupError)>,
}

/// Finds what runs have made: below the own v2 cgroup, below the mount of a hybrid machine, and
/// below `extra`; anywhere in the hierarchies of version 1; the named hierarchies of runs, mounted
/// or not; tracing instances.
///
/// Errors: a directory that is there but cannot be listed. v2 comes first, so that processes end
/// before their v1 limits are removed.
pub fn find(layout: &Layout, extra: Option<&Path>) -> Result<Vec<Leftover>, SysError> {
    let mut search = Search::new(&|_| true);
    search.v2(layout, extra);
    // The limits of a run are where it ran, which may be anywhere in these.
    search.v1(v1_mounts(layout).collect(), true);
    search.elsewhere(layout);
    search.end()
}

/// Finds what one run of this process's harness has made. `run` is its name, or that of a part of
/// it: what is named so, or so and a suffix after a dot. In version 1 a run makes its cgroups in
/// the own cgroups of its processes, so that is where this looks.
///
/// Errors: what cannot be listed; then something may be left.
pub fn of_run(run: &str, extra: Option<&Path>) -> Result<Vec<Leftover>, HostError> {
    let (found, error) = search_run(run, extra)?;
    match error {
        Some(error) => Err(error.into()),
        None => Ok(found),
    }
}

fn search_run(
    run: &str,
    extra: Option<&Path>,
) -> Result<(Vec<Leftover>, Option<SysError>), HostError> {
    let layout = Layout::read(&Paths::default())?;
    let wanted = |name: &str| belongs(name, run);
    let mut search = Search::new(&wanted);
    search.v2(&layout, extra);
    search.v1(layout.own_v1_dirs(), false);
    search.elsewhere(&layout);
    Ok((search.found, search.failed))
}

/// Whether something of this name belongs to `run`: it is named so, or so and a suffix after a dot.
pub(crate) fn belongs(name: &str, run: &str) -> bool {
    name.strip_prefix(run)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Ends and removes everything that [`of_run`] finds, until it finds nothing. Calls `meanwhile` at
/// least every few milliseconds.
///
/// Errors: what could not be removed, or looked at, until `deadline`; all that could be removed is.
pub fn remove_run(
    run: &str,
    extra: Option<&Path>,
    deadline: MonoNs,
    meanwhile: &mut dyn FnMut(),
) -> Result<(), (PathBuf, CgroupError)> {
    let mut emptying = Emptying {
        deadline,
        meanwhile,
        met: BTreeMap::new(),
    };
    loop {
        // A process that was creating something is dead after the first round, so the second one
        // finds all that it created.
        let (found, error) = search_run(run, extra).map_err(|e| unknown(run, e))?;
        if found.is_empty() {
            return error.map_or(Ok(()), |e| Err(unknown(run, e.into())));
        }
        let things = found
            .into_iter()
            .map(|leftover| (leftover.path, leftover.kind));
        if let Some(failed) = emptying.remove(things.collect()).pop() {
            return Err(failed);
        }
        if deadline.has_passed() {
            return Err((
                PathBuf::from(run),
                SysError::plain("remove all of a run", Errno::ETIMEDOUT).into(),
            ));
        }
    }
}

/// The error for what could not be searched.
fn unknown(run: &str, error: HostError) -> (PathBuf, CgroupError) {
    let error = match error {
        HostError::Sys(e) => e,
        HostError::Layout(e) => e.into(),
        _ => SysError::plain("find own cgroups", Errno::EBADMSG),
    };
    (PathBuf::from(run), error.into())
}

/// Ends and removes a part of a run: its v2 cgroup, its directories in v1 hierarchies, and whatever
/// is called `name` elsewhere.
///
/// Errors: what could not be removed, or looked at, until `deadline`.
pub(crate) fn remove_part(
    v2: PathBuf,
    v1: Vec<PathBuf>,
    name: &str,
    deadline: MonoNs,
    meanwhile: &mut dyn FnMut(),
) -> Result<(), (PathBuf, CgroupError)> {
    let mut emptying = Emptying {
        deadline,
        meanwhile,
        met: BTreeMap::new(),
    };
    let mut things = vec![(v2, Kind::V2)];
    things.extend(v1.into_iter().map(|path| (path, Kind::V1)));
    // Other parts of it may hold its processes frozen.
    let (found, _) = search_run(name, None).map_err(|e| unknown(name, e))?;
    things.extend(
        found
            .into_iter()
            .map(|leftover| (leftover.path, leftover.kind)),
    );
    if let Some(failed) = emptying.remove(things).pop() {
        return Err(failed);
    }
    remove_run(name, None, deadline, emptying.meanwhile)
}

/// Directories that were looked through, and what was found.
struct Search<'a> {
    wanted: &'a dyn Fn(&str) -> bool,
    seen: BTreeSet<(u64, u64)>,
    found: Vec<Leftover>,
    failed: Option<SysError>,
}

impl<'a> Search<'a> {
    fn new(wanted: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            wanted,
            seen: BTreeSet::new(),
            found: Vec::new(),
            failed: None,
        }
    }

    fn end(self) -> Result<Vec<Leftover>, SysError> {
        self.failed.map_or(Ok(self.found), Err)
    }

    fn v2(&mut self, layout: &Layout, extra: Option<&Path>) {
        self.look_in(places(layout, extra), Kind::V2, false);
    }

    fn v1(&mut self, dirs: Vec<PathBuf>, deep: bool) {
        self.look_in(dirs, Kind::V1, deep);
    }

    /// Hierarchies, tracing instances, and directories of programs.
    fn elsewhere(&mut self, layout: &Layout) {
        let names = named::names(&layout.own)
            .filter(|name| name.starts_with(PREFIX) && (self.wanted)(name));
        self.found.extend(names.map(|name| Leftover {
            path: format!("name={name}").into(),
            kind: Kind::Hierarchy,
            owner: owner(name),
        }));
        self.look_in(
            super::probes::tracing::INSTANCES
                .map(PathBuf::from)
                .to_vec(),
            Kind::Tracing,
            false,
        );
        self.look_in(vec![scratch::PARENT.into()], Kind::Scratch, false);
    }

    /// Notes what matches in `dirs` and, if `deep`, below them.
    fn look_in(&mut self, mut dirs: Vec<PathBuf>, kind: Kind, deep: bool) {
        while let Some(dir) = dirs.pop() {
            match self.look(&dir, kind) {
                Ok(others) if deep => dirs.extend(others),
                // A process that may not list tracing instances may not make any.
                Err(e)
                    if kind == Kind::Tracing && matches!(e.errno, Errno::EACCES | Errno::EPERM) => {
                }
                Ok(_) => {}
                Err(e) => {
                    self.failed.get_or_insert(e);
                }
            }
        }
    }

    /// Searches one directory. Returns the subdirectories that belong to no run.
    fn look(&mut self, dir: &Path, kind: Kind) -> Result<Vec<PathBuf>, SysError> {
        let mut others = Vec::new();
        let fail = |e: &io::Error| SysError::io("list", Target::Path(dir.to_path_buf()), e);
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(others),
            Err(e) => return Err(fail(&e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| fail(&e))?;
            if !entry.file_type().map_err(|e| fail(&e))?.is_dir() {
                continue;
            }
            // The same hierarchy may be mounted, or bind-mounted, more than once.
            match entry.metadata() {
                Ok(meta) if self.seen.insert((meta.dev(), meta.ino())) => {}
                Ok(_) => continue,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(fail(&e)),
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with(PREFIX) {
                others.push(entry.path());
            } else if (self.wanted)(&name) {
                let (path, owner) = (entry.path(), owner(&name));
                self.found.push(Leftover { path, kind, owner });
            }
        }
        Ok(others)
    }
}

fn owner(name: &str) -> Owner {
    RunName::parse(name).map_or(Owner::Unknown, |run| run.owner())
}

fn v1_mounts(layout: &Layout) -> impl Iterator<Item = PathBuf> + '_ {
    let holds = |hierarchy: &Hierarchy| {
        matches!(hierarchy, Hierarchy::V1 { controllers,
        .. } if !controllers.is_empty())
    };
    let mounts = layout
        .mounts
        .iter()
        .rev()
        .filter(move |mount| holds(&mount.hierarchy));
    mounts.map(|mount| mount.point.clone())
}

/// Directories of version 2 in which runs may have been made.
fn places(layout: &Layout, extra: Option<&Path>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    places.extend(extra.map(Path::to_path_buf));
    if let Ok(own) = layout.own_v2() {
        // A base gives its controllers to children only after its process has moved to a leaf.
        if own.ends_with(LEAF) {
            places.extend(own.parent().map(Path::to_path_buf));
        }
        places.push(own);
    }
    if layout.hybrid() {
        places.extend(layout.v2().map(|mount| mount.point.clone()));
    }
    places
}

/// Ends and removes what `leftovers` lists, as far as its owner is gone. `patience` is for all of
/// them together.
pub fn clean(leftovers: &[Leftover], patience: Duration) -> Cleaned {
    let (gone, kept): (Vec<_>, Vec<_>) = leftovers
        .iter()
        .cloned()
        .partition(|l| l.owner == Owner::Gone);
    let mut emptying = Emptying {
        deadline: crate::sys::time::now() + patience,
        meanwhile: &mut || {},
        met: BTreeMap::new(),
    };
    let things = gone
        .iter()
        .map(|leftover| (leftover.path.clone(), leftover.kind));
    let failed = emptying.remove(things.collect());
    let stayed = |path: &PathBuf| failed.iter().any(|(failed, _)| failed == path);
    let killed = |path: &PathBuf| emptying.met.values().filter(|met| *met == path).count();
    Cleaned {
        removed: gone
            .into_iter()
            .map(|l| l.path)
            .filter(|path| !stayed(path))
            .map(|path| (killed(&path), path))
            .map(|(killed, path)| (path, killed))
            .collect(),
        kept,
        failed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::OwnerId;
    use super::*;
    use crate::host::mountinfo::{parse_mountinfo, parse_own};

    /// A machine of plain directories; what the kernel does with them is tried in `tests/host.rs`.
    fn machine(dir: &Path) -> Layout {
        let at = dir.display();
        let mounts = format!(
            "1 1 0:1 / {at}/pids rw - cgroup cgroup rw,pids\n\
                2 1 0:2 / {at}/unified rw - cgroup2 none rw\n\
                3 1 0:3 / {at}/named rw - cgroup cgroup rw,name=systemd\n"
        );
        Layout {
            mounts: parse_mountinfo(mounts.as_bytes()).unwrap(),
            own: parse_own(
                b"9:name=scenario-old.x:/\n8:name=systemd:/\n1:pids:/mine\n0::/a/leaf\n",
            )
            .unwrap(),
        }
    }

    #[test]
    fn what_could_not_be_looked_for_keeps_the_answer_of_the_kernel() {
        let refused = SysError::path("read", "/proc/self/cgroup", Errno::ENOMEM);
        let layout = HostError::Layout(crate::host::LayoutError::Sys(refused.clone()));
        assert_eq!(unknown("scenario-1-2-3", layout).1, refused.into());
    }

    #[test]
    fn runs_are_found_in_every_place_once_and_v2_first() {
        let dir = tempfile::tempdir().unwrap();
        let own = RunName::own().unwrap();
        let gone = RunName(OwnerId {
            pid: i32::MAX,
            ..own.0
        });
        for name in [
            format!("pids/mine/{gone}/7"),
            format!("pids/of/a/shell/that/ended/{gone}"),
            format!("unified/a/leaf/{own}"),
            format!("unified/a/{gone}.probe0"),
            format!("unified/{gone}"),
            "unified/scenario-old".to_owned(),
            "unified/other".to_owned(),
            format!("named/{gone}"),
        ] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let extra = dir.path().join("unified");
        let mut found = find(&machine(dir.path()), Some(&extra)).unwrap();
        // Those of other runs on this machine.
        found.retain(|leftover| leftover.kind != Kind::Scratch);
        let owner = |path: String| {
            found
                .iter()
                .find(|l| l.path == dir.path().join(&path))
                .map(|l| (l.kind, l.owner))
        };
        assert_eq!(found.len(), 7, "{found:?}");
        assert_eq!(
            owner(format!("unified/{gone}")),
            Some((Kind::V2, Owner::Gone))
        );
        assert_eq!(
            owner(format!("unified/a/{gone}.probe0")),
            Some((Kind::V2, Owner::Gone))
        );
        assert_eq!(
            owner(format!("unified/a/leaf/{own}")),
            Some((Kind::V2, Owner::Alive))
        );
        assert_eq!(
            owner("unified/scenario-old".to_owned()),
            Some((Kind::V2, Owner::Unknown))
        );
        for limit in ["pids/mine", "pids/of/a/shell/that/ended"] {
            assert_eq!(
                owner(format!("{limit}/{gone}")),
                Some((Kind::V1, Owner::Gone)),
                "{limit}"
            );
        }
        let kinds: Vec<_> = found.iter().map(|l| l.kind).collect();
        assert_eq!(kinds[4..], [Kind::V1, Kind::V1, Kind::Hierarchy]);
        assert_eq!(found[6].path, Path::new("name=scenario-old.x"));
    }

    #[test]
    fn what_may_be_alive_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let leftovers: Vec<_> = [Owner::Alive, Owner::Unknown]
            .into_iter()
            .map(|owner| Leftover {
                path: dir.path().to_path_buf(),
                kind: Kind::V2,
                owner,
            })
            .collect();
        let cleaned = clean(&leftovers, Duration::ZERO);
        assert_eq!(cleaned.kept, leftovers);
        assert!(cleaned.removed.is_empty() && cleaned.failed.is_empty() && dir.path().exists());
    }
}
