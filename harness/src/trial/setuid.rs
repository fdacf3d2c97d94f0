//! A set-user-ID copy of a program, for a tree one of whose processes becomes another user.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};

use super::broken::Broken;
use crate::error::{SysError, Target};
use crate::host::scratch;
use crate::record::Cause;
use crate::users::{STRANGER_UIDS, unused};

/// Makes one that has no name: nothing is left of it when it is closed. It belongs to a user that
/// no process has, and is open for reading alone, so that it can be executed (execve(2):
/// `ETXTBSY`).
pub(super) fn copy(program: &OwnedFd) -> Result<OwnedFd, Broken> {
    let uid = unused(STRANGER_UIDS)
        .map_err(Broken::harness)?
        .ok_or_else(|| {
            let why = "no process of another user: processes have all user ids kept for it";
            Broken::new(Cause::NotStarted, why.to_owned())
        })?;
    copy_for(program, uid)
        .map_err(|e| {
            SysError::io(
                "copy the program to",
                Target::Path(scratch::PARENT.into()),
                &e,
            )
        })
        .map_err(Broken::harness)
}

fn copy_for(program: &OwnedFd, uid: u32) -> io::Result<OwnedFd> {
    let mut to = File::options()
        .write(true)
        .read(true)
        .custom_flags(nix::libc::O_TMPFILE)
        .open(scratch::PARENT)?;
    let mut from = File::open(format!("/proc/self/fd/{}", program.as_raw_fd()))?;
    io::copy(&mut from, &mut to)?;
    // A change of the owner takes the bit away.
    fchown(to.as_fd(), Some(uid), Some(uid))?;
    to.set_permissions(Permissions::from_mode(0o4755))?;
    let reading = File::open(format!("/proc/self/fd/{}", to.as_raw_fd()))?;
    Ok(reading.into())
}
