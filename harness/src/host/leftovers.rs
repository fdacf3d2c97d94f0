//! What runs that crashed have left: finding it, ending it, removing it. The library part of `scenario clean`.
//!
//! A run's name says whose it is ([`super::name`]). Only what belongs to an owner that is known to be gone is touched; a run that is
//! still going on, or of which that cannot be known, is listed and kept. Processes are ended by membership of such a cgroup, by pidfd,
//! never by name.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::mountinfo::Hierarchy;
use super::mounts::Layout;
use super::name::{Owner, PREFIX, RunName};
use super::named::{self, Named};
use super::{LEAF, remove};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError, parse_members};
use crate::error::{SysError, Target};
use crate::sys::pidfd;

/// What a run may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A cgroup of the v2 hierarchy.
    V2,
    /// A cgroup of somebody else's v1 hierarchy.
    V1,
    /// A named v1 hierarchy of its own.
    Hierarchy,
}

/// A cgroup, or a hierarchy of cgroups, of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its directory; of a hierarchy the name that it has in `/proc/self/cgroup`.
    pub path: PathBuf,
    /// Which interface it has.
    pub kind: Kind,
    /// What is known about its owner.
    pub owner: Owner,
}

/// What a clean-up did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// Directories that are gone now (each the top of what was removed).
    pub removed: Vec<PathBuf>,
    /// How many SIGKILLs were sent one by one; a write to `cgroup.kill` is not counted.
    pub signals: usize,
    /// What was left alone, because its owner lives or cannot be known.
    pub kept: Vec<Leftover>,
    /// What could not be removed, and why.
    pub failed: Vec<(PathBuf, CgroupError)>,
}

/// Finds the cgroups of runs below the own cgroup, below the mount of a hybrid machine, and below `extra`; those anywhere in the
/// hierarchies of version 1; and the named hierarchies of runs, mounted or not.
///
/// Errors: a directory that is there but cannot be listed. v2 comes first, so that processes end before their v1 belts are removed.
pub fn find(layout: &Layout, extra: Option<&Path>) -> Result<Vec<Leftover>, SysError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for dir in places(layout, extra) {
        find_in(&dir, Kind::V2, &mut seen, &mut found)?;
    }
    // The belts of a run are where it lived, which may be anywhere in these.
    for mount in &layout.mounts {
        if matches!(&mount.hierarchy, Hierarchy::V1 { controllers, .. } if !controllers.is_empty()) {
            find_in(&mount.point, Kind::V1, &mut seen, &mut found)?;
        }
    }
    let hierarchies = named::names(&layout.own).filter(|name| name.starts_with(PREFIX));
    found.extend(hierarchies.map(|name| Leftover {
        path: format!("name={name}").into(),
        kind: Kind::Hierarchy,
        owner: owner(name),
    }));
    Ok(found)
}

fn owner(name: &str) -> Owner {
    RunName::parse(name).map_or(Owner::Unknown, |run| run.owner())
}

/// Adds the runs in `dir`; of version 1 those further down too.
fn find_in(dir: &Path, kind: Kind, seen: &mut BTreeSet<(u64, u64)>, found: &mut Vec<Leftover>) -> Result<(), SysError> {
    let fail = |e: &io::Error| SysError::io("list", Target::Path(dir.to_path_buf()), e);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail(&e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| fail(&e))?;
        if !entry.file_type().map_err(|e| fail(&e))?.is_dir() {
            continue;
        }
        // The same hierarchy may be mounted, or bind-mounted, more than once.
        match entry.metadata() {
            Ok(meta) if seen.insert((meta.dev(), meta.ino())) => {}
            Ok(_) => continue,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(fail(&e)),
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            let (path, owner) = (entry.path(), owner(&name));
            found.push(Leftover { path, kind, owner });
        } else if kind == Kind::V1 {
            find_in(&entry.path(), kind, seen, found)?;
        }
    }
    Ok(())
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

/// Ends and removes what `leftovers` lists, as far as its owner is gone. `patience` is for each of them.
pub fn clean(leftovers: &[Leftover], patience: Duration) -> Cleaned {
    let mut cleaned = Cleaned::default();
    for leftover in leftovers {
        if leftover.owner != Owner::Gone {
            cleaned.kept.push(leftover.clone());
            continue;
        }
        let deadline = crate::sys::time::now() + patience;
        let result = match leftover.kind {
            Kind::V2 => clean_v2(&leftover.path, deadline, &mut cleaned.signals),
            Kind::V1 => clean_v1(&leftover.path, deadline, &mut cleaned.signals).map_err(CgroupError::from),
            Kind::Hierarchy => clean_hierarchy(&leftover.path, deadline, &mut cleaned.signals),
        };
        match result {
            Ok(()) => cleaned.removed.push(leftover.path.clone()),
            Err(e) if e.errno() == Some(Errno::ENOENT) && !leftover.path.exists() => {
                cleaned.removed.push(leftover.path.clone());
            }
            Err(e) => cleaned.failed.push((leftover.path.clone(), e)),
        }
    }
    cleaned
}

fn clean_v2(path: &Path, deadline: MonoNs, signals: &mut usize) -> Result<(), CgroupError> {
    let cgroup = Cgroup::open(path)?;
    let mut one_by_one = match cgroup.kill() {
        Ok(()) => false,
        // Before 5.14 there is no cgroup.kill; a frozen or growing tree is then ended one by one.
        Err(e) if e.errno() == Some(Errno::ENOENT) => true,
        Err(e) => return Err(e),
    };
    while cgroup.events()?.populated {
        if deadline.has_passed() {
            return Err(SysError::path("empty", path, Errno::EBUSY).into());
        }
        if one_by_one {
            let members = cgroup.procs_recursive()?;
            for pid in members.pids {
                *signals += usize::from(kill_member(pid, || Ok(cgroup.procs_recursive()?.pids.contains(&pid)))?);
            }
        }
        remove::pause(cgroup.events_file()?.as_fd())?;
        // Many kernels spare a process whose first thread has exited; see `bugs::SPARES_DEAD_LEADERS`.
        one_by_one = true;
    }
    let mut cgroup = cgroup;
    loop {
        match cgroup.remove_tree() {
            Ok(()) => return Ok(()),
            Err((again, e)) if e.errno() == Some(Errno::EBUSY) && !deadline.has_passed() => {
                remove::pause(again.events_file()?.as_fd())?;
                cgroup = again;
            }
            Err((_, e)) => return Err(e),
        }
    }
}

fn clean_v1(path: &Path, deadline: MonoNs, signals: &mut usize) -> Result<(), SysError> {
    let dirs = tree(path)?;
    loop {
        let mut members = 0;
        for dir in &dirs {
            for pid in v1_members(dir)? {
                members += 1;
                *signals += usize::from(kill_member(pid, || Ok(v1_members(dir)?.contains(&pid)))?);
            }
            // A process that is frozen by the v1 freezer does not die of SIGKILL before it is thawed.
            let state = dir.join("freezer.state");
            match fs::write(&state, "THAWED") {
                Err(e) if state.exists() => return Err(SysError::io("thaw", Target::Path(state), &e)),
                Ok(()) | Err(_) => {}
            }
        }
        if members == 0 {
            break;
        }
        if deadline.has_passed() {
            return Err(SysError::path("empty", path, Errno::EBUSY));
        }
        let procs = path.join("cgroup.procs");
        let file = fs::File::open(&procs).map_err(|e| SysError::io("open", Target::Path(procs), &e))?;
        remove::pause(file.as_fd())?;
    }
    dirs.iter()
        .rev()
        .try_for_each(|dir| remove::v1_when_empty(dir, deadline))
}

/// Ends whoever is in a cgroup of the hierarchy. Its root is spared: that holds everybody else on the machine.
fn clean_hierarchy(label: &Path, deadline: MonoNs, signals: &mut usize) -> Result<(), CgroupError> {
    let label = label.to_string_lossy();
    let name = label.strip_prefix("name=").unwrap_or(&label);
    let hierarchy = Named::mount(name)?;
    for child in hierarchy.root().children()? {
        clean_v1(child?.path(), deadline, signals)?;
    }
    drop(hierarchy);
    named::take_down(name, deadline, &mut || {})
}

/// `dir` and everything below it, parents first.
fn tree(dir: &Path) -> Result<Vec<PathBuf>, SysError> {
    let mut all = vec![dir.to_path_buf()];
    let mut next = 0;
    while let Some(dir) = all.get(next).cloned() {
        let fail = |e: &io::Error| SysError::io("list", Target::Path(dir.clone()), e);
        for entry in fs::read_dir(&dir).map_err(|e| fail(&e))? {
            let entry = entry.map_err(|e| fail(&e))?;
            if entry.file_type().map_err(|e| fail(&e))?.is_dir() {
                all.push(entry.path());
            }
        }
        next += 1;
    }
    Ok(all)
}

fn v1_members(dir: &Path) -> Result<Vec<i32>, SysError> {
    let path = dir.join("cgroup.procs");
    let text = fs::read_to_string(&path).map_err(|e| SysError::io("read", Target::Path(path.clone()), &e))?;
    let members = parse_members(&text).ok_or_else(|| SysError::path("understand", &path, Errno::EBADMSG))?;
    Ok(members.pids)
}

/// SIGKILL to `pid` through a pidfd, if it still is a member after the pidfd was opened. False: somebody was first.
fn kill_member(pid: i32, still: impl Fn() -> Result<bool, CgroupError>) -> Result<bool, SysError> {
    let fail = |op| move |errno| SysError::pid(op, pid, errno);
    let handle = match pidfd::open(Pid::from_raw(pid)) {
        Ok(handle) => handle,
        Err(Errno::ESRCH) => return Ok(false),
        Err(errno) => return Err(fail("pidfd_open")(errno)),
    };
    if !still().is_ok_and(|member| member) {
        return Ok(false);
    }
    match pidfd::send_signal(handle.as_fd(), Some(Signal::SIGKILL)) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(fail("pidfd_send_signal")(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mountinfo::{parse_mountinfo, parse_own};

    /// A machine of plain directories; what the kernel does with them is tried in `tests/host.rs`.
    fn machine(dir: &Path) -> Layout {
        let at = dir.display();
        let mounts = format!(
            "1 1 0:1 / {at}/pids rw - cgroup cgroup rw,pids\n2 1 0:2 / {at}/unified rw - cgroup2 none rw\n\
             3 1 0:3 / {at}/named rw - cgroup cgroup rw,name=systemd\n"
        );
        Layout {
            mounts: parse_mountinfo(mounts.as_bytes()).unwrap(),
            own: parse_own(b"9:name=scenario-old.x:/\n8:name=systemd:/\n1:pids:/mine\n0::/a/leaf\n").unwrap(),
        }
    }

    #[test]
    fn runs_are_found_in_every_place_once_and_v2_first() {
        let dir = tempfile::tempdir().unwrap();
        let own = RunName::own().unwrap();
        let gone = RunName { pid: i32::MAX, ..own };
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
        let found = find(&machine(dir.path()), Some(&extra)).unwrap();
        let owner = |path: String| {
            found
                .iter()
                .find(|l| l.path == dir.path().join(&path))
                .map(|l| (l.kind, l.owner))
        };
        assert_eq!(found.len(), 7, "{found:?}");
        assert_eq!(owner(format!("unified/{gone}")), Some((Kind::V2, Owner::Gone)));
        assert_eq!(owner(format!("unified/a/{gone}.probe0")), Some((Kind::V2, Owner::Gone)));
        assert_eq!(owner(format!("unified/a/leaf/{own}")), Some((Kind::V2, Owner::Alive)));
        assert_eq!(
            owner("unified/scenario-old".to_owned()),
            Some((Kind::V2, Owner::Unknown))
        );
        for belt in ["pids/mine", "pids/of/a/shell/that/ended"] {
            assert_eq!(owner(format!("{belt}/{gone}")), Some((Kind::V1, Owner::Gone)), "{belt}");
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
