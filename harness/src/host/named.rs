//! Named v1 hierarchies: cgroups without controllers, which exist because they were mounted under a
//! name.
//!
//! A run's hierarchies bear its name ([`super::name`]), and have no mount point, so that no other
//! process sees them. Making one and taking it down costs more than 100 ms, so all trials of a run
//! share one ([`shared`]), which the first of them makes. The kernel keeps a hierarchy for as long
//! as it is mounted *or has a cgroup besides the root*: what a crash leaves is found in
//! `/proc/self/cgroup`, where every hierarchy has a line.
//!
//! Sources: cgroups(7), kernel/cgroup/cgroup-v1.c: `cgroup1_root_to_use()`, kernel/cgroup/cgroup.c:
//! `cgroup_kill_sb()`.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;

use super::mountinfo::{OwnCgroup, parse_own};
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::error::{SysError, Target};
use crate::sys::mount;

/// A mounted hierarchy. Dropping it unmounts it; its cgroups stay, and so does it while it has any
/// ([`take_down`]).
#[derive(Debug)]
pub struct Named {
    root: Cgroup,
    // Dropped after the root: the root's path leads through it.
    _mount: OwnedFd,
}

impl Named {
    /// Mounts the hierarchy `name`, and makes it if there is none.
    ///
    /// Needs `CAP_SYS_ADMIN` in the initial user and cgroup namespaces, and Linux 5.2. Errors:
    /// `EPERM`; `EINVAL` the name is longer than 63 bytes or has a character that is no word
    /// character, dot or dash; `ENOENT` forbidden by `cgroup_no_v1=named`; `EBUSY` the last one of
    /// this name is still being taken down.
    pub fn mount(name: &str) -> Result<Self, SysError> {
        let fail = |errno| SysError::path("mount the cgroup v1 hierarchy", label(name), errno);
        let value = CString::new(name).map_err(|_| fail(Errno::EINVAL))?;
        let mount = mount::detached(c"cgroup", &[(c"none", None), (c"name", Some(&value))])
            .map_err(fail)?;
        let root = Cgroup::open(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Ok(Self {
            root: root.map_err(|e| fail(e.errno().unwrap_or(Errno::EIO)))?,
            _mount: mount,
        })
    }

    /// Its root. All processes of the machine that are in no other cgroup of it are members. Never
    /// kill those.
    pub fn root(&self) -> &Cgroup {
        &self.root
    }
}

/// The name of the hierarchy that the trials of a run share; `label` is run and trial in one word.
pub fn shared(label: &str) -> String {
    let run = label.rsplit_once('.').map_or(label, |(run, _)| run);
    shared_of(run)
}

/// The same, of the run of this name.
pub(crate) fn shared_of(run: &str) -> String {
    format!("{run}.shared")
}

/// The cgroup in it that belongs to no trial: with it the hierarchy stays when nobody has it
/// mounted.
const KEEPER: &str = "keeper";

impl Named {
    /// Mounts a hierarchy that is to stay until it is taken down. Errors: as [`Named::mount`].
    pub(crate) fn mount_to_stay(name: &str) -> Result<Self, CgroupError> {
        let hierarchy = Self::mount(name)?;
        match hierarchy.root.create(KEEPER) {
            Err(e) if e.errno() != Some(Errno::EEXIST) => Err(e),
            Ok(_) | Err(_) => Ok(hierarchy),
        }
    }

    /// Top cgroups of it that a trial has made, after it has told the kernel to start no agent for
    /// what ends in them: whoever arms says anew which one.
    pub(crate) fn of_trials(&self) -> Result<Vec<PathBuf>, CgroupError> {
        let mut paths = Vec::new();
        for child in self.root.children()? {
            let path = child?.path().to_path_buf();
            if !path.ends_with(KEEPER) {
                paths.push(path);
            }
        }
        if !paths.is_empty() {
            self.root.write("release_agent", "\n")?;
        }
        Ok(paths)
    }
}

/// The name of the hierarchy `name` in `/proc/<pid>/cgroup`.
fn label(name: &str) -> String {
    format!("name={name}")
}

/// Names of the named hierarchies in these lines.
pub(super) fn names(own: &[OwnCgroup]) -> impl Iterator<Item = &str> {
    let fields = own.iter().flat_map(|line| &line.controllers);
    fields.filter_map(|field| field.strip_prefix("name="))
}

/// Names of all named hierarchies of this machine, mounted or not.
pub(crate) fn present() -> Result<Vec<String>, SysError> {
    let path = "/proc/self/cgroup";
    let text = match std::fs::read(path) {
        Ok(text) => text,
        // A kernel without cgroups.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(SysError::io("read", Target::Path(path.into()), &e)),
    };
    let own = parse_own(&text).map_err(|_| SysError::path("understand", path, Errno::EBADMSG))?;
    Ok(names(&own).map(str::to_owned).collect())
}

/// Removes all cgroups of the hierarchy `name` and unmounts it until it is gone; calls `meanwhile`
/// at least every few milliseconds.
///
/// It takes about 50 ms: a removed cgroup counts until RCU has let go of it, and so does the
/// unmounted root. Members of its cgroups have to end by themselves, or be killed by the caller.
/// Errors: the last refusal (`EBUSY`: it has members) when `deadline` has passed.
pub fn take_down(
    name: &str,
    deadline: MonoNs,
    meanwhile: &mut dyn FnMut(),
) -> Result<(), CgroupError> {
    while present()?.iter().any(|there| there == name) {
        match strip(name) {
            // Unmounted, but the line may take a while.
            Ok(()) if !deadline.has_passed() => {}
            Ok(()) => return Err(SysError::path("take down", label(name), Errno::ETIMEDOUT).into()),
            Err(e) if e.errno() == Some(Errno::EBUSY) && !deadline.has_passed() => {}
            Err(e) => return Err(e),
        }
        meanwhile();
        let soon = crate::sys::time::now() + std::time::Duration::from_millis(2);
        // An interruption only makes the next attempt come sooner.
        match crate::sys::time::sleep_until(soon) {
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Mounts it once more, tells the kernel to start no agent, removes every cgroup, and unmounts it.
fn strip(name: &str) -> Result<(), CgroupError> {
    let hierarchy = Named::mount(name)?;
    for child in hierarchy.root.children()? {
        hierarchy.root.write("release_agent", "\n")?;
        child?.remove_tree().map_err(|(_, e)| e)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_hierarchies_are_told_from_controllers() {
        let own =
            parse_own(b"10:name=scenario-1-2-3.a:/x\n9:name=systemd:/\n4:cpu,cpuacct:/\n0::/\n")
                .unwrap();
        assert_eq!(
            names(&own).collect::<Vec<_>>(),
            ["scenario-1-2-3.a", "systemd"]
        );
    }

    #[test]
    fn trials_of_a_run_share_a_hierarchy_and_runs_do_not() {
        assert_eq!(shared("scenario-1-2-3.trial-7"), "scenario-1-2-3.shared");
        assert_eq!(
            shared("scenario-1-2-3.test1.trial-7"),
            shared_of("scenario-1-2-3.test1")
        );
        // The guards and the end of the run find it by the run's name.
        assert!(super::super::leftovers::belongs(
            &shared("scenario-1-2-3.trial-7"),
            "scenario-1-2-3"
        ));
    }

    #[test]
    fn nobody_has_a_hierarchy_of_a_run_that_never_was() {
        take_down("scenario-0-0-0", MonoNs(0), &mut || {
            unreachable!("there is nothing to wait for")
        })
        .unwrap();
    }
}
