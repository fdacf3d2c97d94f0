//! Enabling controllers for the children of a base, by any number of processes at once, and undoing
//! that when the last of them is gone.
//!
//! A process that enables controllers *first* makes an empty cgroup in the base with a name that
//! lists them (`allgone.enabled+pids+memory`), so that the change can be told from one that an
//! administrator made. Each user of the base holds a shared lock (flock(2)) on that cgroup's
//! directory, which the kernel drops when the process ends, in whatever way. A user that leaves and
//! gets the exclusive lock was the last one: it disables what the name lists and removes the mark.
//! If the last user is killed, the mark stays, and the next user of the base takes the change over
//! and back. Changes are made under an exclusive lock on the base's own directory.
//!
//! A process that ends itself without dropping its base takes nothing back either.

use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::Refusal;
use crate::cgroup::{Cgroup, CgroupError, GRACE, remove_child_when_empty};
use crate::error::SysError;
use crate::sys::time::{now, sleep_until};

/// The prefix of the name of the cgroup that says which controllers were enabled.
pub const MARK: &str = "allgone.enabled";

/// How long another process may take over its changes to the base.
const LOCK_LIMIT: Duration = Duration::from_secs(2);

/// Why nothing is enabled by a kernel without `CONFIG_FILE_LOCKING`. What is enabled already can be
/// used.
const NO_LOCKS: &str = "this kernel has no file locks, without which nobody could know when to \
    disable a controller again: enable it by hand";

/// Controllers that limits need, the one that must be there first.
pub(super) const WANTED: [&str; 3] = ["pids", "memory", "cpu"];

/// The share of one user in the changes of a base.
#[derive(Debug, Default)]
pub(super) struct Shared {
    marks: Vec<(String, Flock<File>)>,
}

/// What the children of a base have.
#[derive(Debug, Default)]
pub(super) struct Enabled {
    /// Controllers, by name.
    pub controllers: Vec<String>,
    /// Those among them that were enabled just now.
    pub new: Vec<&'static str>,
    /// What is missing, and why.
    pub notes: Vec<String>,
}

impl Shared {
    /// Joins the users of `base`, and enables what is available and not enabled, if `authority`
    /// says why it may. After an error nothing is changed.
    pub(super) fn join(
        base: &Cgroup,
        authority: Result<&'static str, &'static str>,
    ) -> Result<(Self, Enabled), Refusal> {
        let Some(_lock) = lock(base)? else {
            let enabled = Self::default().enable(base, Err(NO_LOCKS))?;
            return Ok((Self::default(), enabled));
        };
        let mut shared = Self::default();
        for child in base.child_names()? {
            match child.into_string() {
                Ok(name) if name.starts_with(MARK) => shared.marks.push(hold(base, name)?),
                // A name that is not UTF-8 is none of ours.
                Ok(_) | Err(_) => {}
            }
        }
        match shared.enable(base, authority) {
            Ok(enabled) => Ok((shared, enabled)),
            Err(refusal) => {
                // The first error is the one to report.
                drop(shared.leave(base));
                Err(refusal)
            }
        }
    }

    fn enable(
        &mut self,
        base: &Cgroup,
        authority: Result<&'static str, &'static str>,
    ) -> Result<Enabled, Refusal> {
        let words = |text: &str| -> Vec<String> {
            text.split_ascii_whitespace().map(str::to_owned).collect()
        };
        let available = words(&base.read("cgroup.controllers")?);
        let mut enabled = Enabled {
            controllers: words(&base.read("cgroup.subtree_control")?),
            ..Enabled::default()
        };
        let lacking: Vec<&'static str> = WANTED
            .into_iter()
            .filter(|name| available.iter().any(|there| there == name))
            .filter(|name| enabled.controllers.iter().all(|there| there != name))
            .collect();
        if lacking.is_empty() {
            return Ok(enabled);
        }
        if let Err(why) = authority {
            return if lacking.contains(&"pids") {
                Err(Refusal::NotDelegated(why.to_owned()))
            } else {
                Ok(enabled)
            };
        }
        let name = format!("{MARK}+{}", lacking.join("+"));
        match base.create(&name) {
            Ok(_) => self.marks.push(hold(base, name)?),
            // Its controllers were disabled by another process; it is held already.
            Err(e) if e.errno() == Some(Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
        for name in lacking {
            match base.write("cgroup.subtree_control", &format!("+{name}")) {
                Ok(()) => {
                    enabled.controllers.push(name.to_owned());
                    enabled.new.push(name);
                }
                Err(e) if name == "pids" => return Err(refused(base, e)),
                Err(e) => enabled.notes.push(format!("no limit by {name}: {e}")),
            }
        }
        Ok(enabled)
    }

    /// Leaves the users of `base`; the last one disables what was enabled. Returns what could not
    /// be undone.
    pub(super) fn undo(self, base: &Cgroup) -> Vec<CgroupError> {
        if self.marks.is_empty() {
            return Vec::new();
        }
        match lock(base) {
            Ok(_lock) => self.leave(base),
            Err(e) => vec![e.into()],
        }
    }

    /// Gives up the locks without unlocking: they are shared with the process that this one was
    /// forked from.
    #[expect(clippy::mem_forget, reason = "dropping a lock unlocks it for both")]
    pub(super) fn forget(self) {
        std::mem::forget(self);
    }

    fn leave(self, base: &Cgroup) -> Vec<CgroupError> {
        let mut failed = Vec::new();
        for (name, shared) in self.marks.into_iter().rev() {
            // Another user has it: that one will do it.
            if shared.relock(FlockArg::LockExclusiveNonblock).is_err() {
                continue;
            }
            let enabled = name.split('+').skip(1);
            let mut all = true;
            for controller in enabled.collect::<Vec<_>>().into_iter().rev() {
                match base.write("cgroup.subtree_control", &format!("-{controller}")) {
                    // The base itself is gone.
                    Err(e) if matches!(e.errno(), Some(Errno::ENODEV | Errno::ENOENT)) => {}
                    Err(e) => {
                        all = false;
                        failed.push(e);
                    }
                    Ok(()) => {}
                }
            }
            if all {
                match remove_child_when_empty(base, &name, now() + GRACE) {
                    Err(e) if e.errno() != Some(Errno::ENOENT) => failed.push(e),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        failed
    }
}

/// A cgroup with members cannot enable controllers ("no internal process", cgroups(7)).
fn refused(base: &Cgroup, error: CgroupError) -> Refusal {
    if error.errno() != Some(Errno::EBUSY) {
        return error.into();
    }
    let members = base.procs().map_or(0, |m| m.pids.len() + m.foreign);
    Refusal::NotDelegated(format!(
        "{} has {members} member(s), so it cannot enable controllers for its \
         children: move them into a child of it first",
        base.path().display()
    ))
}

fn hold(base: &Cgroup, name: String) -> Result<(String, Flock<File>), SysError> {
    let fail = |errno| SysError::path("lock", base.path().join(&name), errno);
    let file = directory(base, &name)?;
    // No process holds it exclusively without the lock on the base, which is held here.
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(lock) => Ok((name, lock)),
        Err((_, errno)) => Err(fail(errno)),
    }
}

/// Locks the base for a change. `None`: the kernel has no file locks. Errors: `ETIMEDOUT` another
/// process holds it for long.
fn lock(base: &Cgroup) -> Result<Option<Flock<File>>, SysError> {
    let deadline = now() + LOCK_LIMIT;
    let mut file = directory(base, ".")?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((_, Errno::ENOSYS)) => return Ok(None),
            Err((back, Errno::EWOULDBLOCK)) if !deadline.has_passed() => file = back,
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(SysError::path("lock", base.path(), Errno::ETIMEDOUT));
            }
            Err((_, errno)) => return Err(SysError::path("lock", base.path(), errno)),
        }
        // flock(2) has no time-out. An interrupted sleep only makes the next attempt come early.
        match sleep_until(now() + Duration::from_millis(1)) {
            Ok(()) | Err(_) => {}
        }
    }
}

/// An open file description of its own: locks belong to those.
fn directory(base: &Cgroup, name: &str) -> Result<File, SysError> {
    base.open_file(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
        .map_err(|e| match e {
            CgroupError::Sys(e) => e,
            CgroupError::Malformed { path, .. } => SysError::path("open", path, Errno::EBADMSG),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory that is like a cgroup for this module. What is written to
    /// `cgroup.subtree_control` replaces the beginning of what is there.
    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new(available: &str, enabled: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("cgroup.controllers"), available).unwrap();
            let fake = Self(dir);
            fake.enable(enabled);
            fake
        }

        fn enable(&self, enabled: &str) {
            fs::write(self.0.path().join("cgroup.subtree_control"), enabled).unwrap();
        }

        fn cgroup(&self) -> Cgroup {
            Cgroup::open(self.0.path()).unwrap()
        }

        fn written(&self) -> String {
            fs::read_to_string(self.0.path().join("cgroup.subtree_control")).unwrap()
        }

        fn marks(&self) -> Vec<String> {
            let names = fs::read_dir(self.0.path()).unwrap();
            let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with(MARK)).collect()
        }
    }

    const MAY: Result<&str, &str> = Ok("a test");

    #[test]
    fn the_last_user_takes_back_what_the_first_enabled() {
        let fake = Fake::new("cpuset cpu memory pids", "");
        let (first, enabled) = Shared::join(&fake.cgroup(), MAY).unwrap();
        assert_eq!(enabled.new, ["pids", "memory", "cpu"]);
        assert_eq!(fake.marks(), ["allgone.enabled+pids+memory+cpu"]);
        fake.enable("cpu memory pids");
        let (second, enabled) = Shared::join(&fake.cgroup(), MAY).unwrap();
        assert!(enabled.new.is_empty(), "{enabled:?}");
        assert!(first.undo(&fake.cgroup()).is_empty());
        assert_eq!(fake.written(), "cpu memory pids", "it is still in use");
        assert!(second.undo(&fake.cgroup()).is_empty());
        assert!(fake.written().starts_with("-pids"), "{}", fake.written());
        assert!(fake.marks().is_empty());
    }

    #[test]
    fn what_a_killed_user_enabled_is_taken_back_by_the_next() {
        let fake = Fake::new("pids", "");
        let (killed, _) = Shared::join(&fake.cgroup(), MAY).unwrap();
        fake.enable("pids");
        // As the kernel does it: the lock goes, and nothing else happens.
        drop(killed);
        assert_eq!(fake.marks(), ["allgone.enabled+pids"]);
        let (next, enabled) = Shared::join(&fake.cgroup(), Err("not asked for")).unwrap();
        assert!(enabled.new.is_empty());
        assert!(next.undo(&fake.cgroup()).is_empty());
        assert_eq!(fake.written(), "-pids");
        assert!(fake.marks().is_empty());
    }

    #[test]
    fn what_an_administrator_enabled_stays() {
        let fake = Fake::new("memory pids", "memory pids");
        let (only, enabled) = Shared::join(&fake.cgroup(), MAY).unwrap();
        assert_eq!(enabled.controllers, ["memory", "pids"]);
        assert!(only.undo(&fake.cgroup()).is_empty());
        assert_eq!(fake.written(), "memory pids");
    }

    #[test]
    fn without_authority_nothing_is_touched() {
        let fake = Fake::new("memory pids", "");
        let refused = Shared::join(&fake.cgroup(), Err("another owns it")).unwrap_err();
        assert!(matches!(refused, Refusal::NotDelegated(_)), "{refused}");
        assert!(fake.marks().is_empty() && fake.written().is_empty());
    }

    #[test]
    fn a_refusal_takes_back_what_was_made() {
        let fake = Fake::new("pids", "");
        let control = fake.0.path().join("cgroup.subtree_control");
        fs::remove_file(&control).unwrap();
        fs::create_dir(&control).unwrap();
        assert!(Shared::join(&fake.cgroup(), MAY).is_err());
        assert!(fake.marks().is_empty(), "{:?}", fake.marks());
    }

    #[test]
    fn a_change_waits_for_another_and_gives_up() {
        let fake = Fake::new("pids", "");
        let held = lock(&fake.cgroup()).unwrap().unwrap();
        let refused = Shared::join(&fake.cgroup(), MAY).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::ETIMEDOUT), "{refused}");
        drop(held);
        assert!(Shared::join(&fake.cgroup(), MAY).is_ok());
    }
}
