//! Owners of what root lets its program write to: on the host the files belong to the directory's
//! owner, in the sandbox to the program's user. Never to root: a file that a program made would be
//! root's, set-user-id bit and all.
//!
//! Sources: mount_setattr(2) `MOUNT_ATTR_IDMAP` (Linux 5.12), user_namespaces(7),
//! Documentation/filesystems/idmappings.rst.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use allgone::SysError;
use allgone::sys::pidfd;
use allgone::sys::spawn::launch::namespaces;
use allgone::sys::spawn::{Exe, Plan, spawn};
use allgone::sys::wait::{Whose, waitid};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;

use crate::error::RunError;

/// The user namespaces that owners are seen through.
#[derive(Debug)]
pub(crate) struct Owners {
    user: Option<(u32, u32)>,
    known: BTreeMap<(u32, u32), Arc<OwnedFd>>,
}

impl Owners {
    /// For a program with this user; `None`: its starter's own.
    pub(crate) fn new(user: Option<(u32, u32)>) -> Self {
        Self {
            user,
            known: BTreeMap::new(),
        }
    }

    /// For a directory of this owner. `None`: it is seen as it is. Errors: it is root's.
    pub(crate) fn of(
        &mut self,
        path: &Path,
        uid: u32,
        gid: u32,
    ) -> Result<Option<Arc<OwnedFd>>, RunError> {
        if self.user.is_some() && (uid == 0 || gid == 0) {
            return Err(RunError::Show {
                path: path.to_owned(),
                why: "it belongs to root or its group, and so would what is written there; chown \
                      it to an ordinary user and group first"
                    .to_owned(),
            });
        }
        self.seen_of(uid, gid)
    }

    /// For a directory of this owner that is not written to: it may be root's.
    pub(crate) fn seen_of(&mut self, uid: u32, gid: u32) -> Result<Option<Arc<OwnedFd>>, RunError> {
        let Some(user) = self.user else {
            return Ok(None);
        };
        if let Some(known) = self.known.get(&(uid, gid)) {
            return Ok(Some(Arc::clone(known)));
        }
        let made = Arc::new(namespace((uid, user.0), (gid, user.1))?);
        self.known.insert((uid, gid), Arc::clone(&made));
        Ok(Some(made))
    }
}

/// A user namespace in which the first of each pair is the number outside's second. It takes a
/// process to make one, which never executes anything: it waits, and is killed.
fn namespace(users: (u32, u32), groups: (u32, u32)) -> Result<OwnedFd, RunError> {
    let failed = |what| move |e: std::io::Error| SysError::io(what, allgone::Target::Nothing, &e);
    let (gate, opener) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe", e))?;
    // There is no program of this name: if this process is killed, so is the other, by the end of
    // the gate.
    let nothing = [c"".to_owned()];
    let plan = Plan {
        clone_flags: namespaces::USER,
        gate: Some(gate.as_fd()),
        parent_death_signal: Some(Signal::SIGKILL),
        ..Plan::new(Exe::Paths(&nothing), &nothing as &[CString])
    };
    let child = spawn(&plan).map_err(failed("make a user namespace"))?;
    let made = (|| {
        let dir = Path::new("/proc").join(child.pid.to_string());
        let map = |(inside, outside): (u32, u32)| format!("{inside} {outside} 1");
        std::fs::write(dir.join("uid_map"), map(users))?;
        std::fs::write(dir.join("gid_map"), map(groups))?;
        File::open(dir.join("ns/user"))
    })();
    match pidfd::send_signal(child.pidfd.as_fd(), Some(Signal::SIGKILL)) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(e) => return Err(SysError::plain("kill", e).into()),
    }
    drop(opener);
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
    allgone::error::retry_eintr(|| waitid(Whose::Pidfd(child.pidfd.as_fd()), flags))
        .map_err(|e| SysError::plain("waitid", e))?;
    let made = made.map_err(failed("map the owners of a directory"))?;
    Ok(made.into())
}
